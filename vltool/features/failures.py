"""Pictures that could not be described, one JSON object a line, beside the store.

{"path": "images/empty.jpg", "image_id": "file:empty", "error": "images/empty.jpg: the file is empty"}
"""

from __future__ import annotations

import json
from collections.abc import Container
from pathlib import Path


def failures_path(store: Path) -> Path:
    """`features.lmdb.failures.jsonl` for `features.lmdb`."""
    return store.with_name(f"{store.name}.failures.jsonl")


class Failures:
    """The list of failures of a store; what is tried again is taken off it, the rest stays."""

    def __init__(self, store: Path, *, tried: Container[str]) -> None:
        """tried: paths of the files that are tried now."""
        self.path = failures_path(store)
        kept = [line for line in self._lines() if json.loads(line)["path"] not in tried]
        self.path.write_text("".join(line + "\n" for line in kept), encoding="utf-8")

    def _lines(self) -> list[str]:
        if not self.path.exists():
            return []
        return [line for line in self.path.read_text(encoding="utf-8").splitlines() if line.endswith("}")]

    def add(self, path: Path, image_id: str | None, error: str) -> None:
        line = json.dumps({"path": str(path), "image_id": image_id, "error": error}, ensure_ascii=False)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
