"""Files that appear whole or not at all, and the JSON in them.

A file is written as a draft beside its place, `.words.json.4711.writing`, 4711 being the process; drafts of processes
that were killed are swept away when the file is written again.
"""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from vltool.errors import DataError


@contextmanager
def whole_file(path: Path | str) -> Iterator[BinaryIO]:
    """A file to write that takes the place of `path` at the end: a reader sees the old content or the whole new one."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path)
    draft = path.with_name(f".{path.name}.{os.getpid()}.writing")
    try:
        with draft.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def write_json(path: Path | str, content: Any, *, indent: int | None = None) -> None:
    """Write JSON to `path`, whole or not at all."""
    write_text(path, json.dumps(content, ensure_ascii=False, indent=indent))  # dumps: many times as fast as dump


def write_text(path: Path | str, text: str) -> None:
    """Write UTF-8 text to `path`, whole or not at all."""
    with whole_file(path) as file:
        file.write(text.encode("utf-8"))


def read_json(path: Path | str, *, next_step: str = "") -> Any:
    """The JSON in a file. Raises DataError, which ends with `next_step`."""
    try:
        return json.loads(Path(path).read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read: {error}. {next_step}".rstrip()) from error


def _sweep(path: Path) -> None:
    """Remove the drafts of `path` that no running process is writing."""
    for found in path.parent.glob(f".{glob.escape(path.name)}.*.writing"):
        writer = found.name.removesuffix(".writing").rpartition(".")[2]
        if writer.isdigit() and not _runs(int(writer)):
            found.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
