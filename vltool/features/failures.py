"""Pictures that could not be described, one JSON object a line, beside the store.

{"path": "images/empty.jpg", "image_id": "file:empty", "error": "images/empty.jpg: the file is empty"}
"""

from __future__ import annotations

import json
from collections.abc import Container
from pathlib import Path
from typing import Any

from vltool.errors import StoreError
from vltool.remote_files import RemoteFile

FAILURES = ".failures.jsonl"


def failures_path(store: Path) -> Path:
    """`features.lmdb.failures.jsonl` for `features.lmdb`."""
    return store.with_name(f"{store.name}{FAILURES}")


class Failures:
    """The list of failures of a store; what is tried again is taken off it, the rest stays."""

    def __init__(self, store: Path, *, tried: Container[str]) -> None:
        """tried: paths of the files that are tried now."""
        self.path = failures_path(store)
        self._write([failure for failure in self._read() if failure.get("path") not in tried], mode="w")

    def _read(self) -> list[dict[str, Any]]:
        """What is listed; a line that a killed process has not finished is not."""
        if not self.path.exists():
            return []
        found = []
        for line in self.path.read_bytes().split(b"\n"):
            try:
                failure = json.loads(line)
            except ValueError:
                continue
            if isinstance(failure, dict):
                found.append(failure)
        return found

    def _write(self, failures: list[dict[str, Any]], *, mode: str) -> None:
        lines = "".join(json.dumps(failure, ensure_ascii=False) + "\n" for failure in failures)
        try:
            with self.path.open(f"{mode}b") as file:  # names that are not UTF-8 become JSON's \\udc.. escapes
                file.write(lines.encode(errors="backslashreplace"))
        except OSError as error:
            raise StoreError(
                f"{self.path}: cannot write the list of failures: {error.strerror}. Make room and run the command again"
            ) from error

    def add(self, path: Path | RemoteFile, image_id: str | None, error: str) -> None:
        self._write([{"path": str(path), "image_id": image_id, "error": error}], mode="a")
