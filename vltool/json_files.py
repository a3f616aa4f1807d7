"""Files that appear whole or not at all, and the JSON in them.

A file is written as a draft beside its place, `.words.json.4711.writing`, 4711 being the process; drafts of processes
that were killed are swept away when the file is written again.
"""

from __future__ import annotations

import glob
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from vltool.errors import ConfigError, DataError


@contextmanager
def whole_file(path: Path | str) -> Iterator[BinaryIO]:
    """A file to write that takes the place of `path` at the end: a reader sees the old content or the whole new one.

    Raises ConfigError where a folder, a pipe or a device is in that place. An OSError names `path`, not the draft.
    """
    path = Path(path)
    _check_kind(path, str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path)
    draft = path.with_name(f".{path.name}.{os.getpid()}.writing")
    try:
        with draft.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException as error:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None and error.filename in (None, str(draft)):
            error.filename, error.filename2 = str(path), None
        raise


def check_place(path: Path | str, *, option: str = "") -> None:
    """Raises ConfigError, naming `option`, where no file can be written: to be asked before any work is done.

    What is in the way: a folder, a pipe or a device of that name; a folder above it that cannot be written to.
    """
    shown = f"{option} {path}".strip()
    _check_kind(Path(path), shown)
    folder = Path(path).parent
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    if not os.path.isdir(folder):
        raise ConfigError(f"{shown}: {folder} is not a folder. Choose another place")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"{shown}: the folder {folder} cannot be written to. Choose another place")


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


def _check_kind(path: Path, shown: str) -> None:
    """Raises ConfigError where something other than a regular file is in the place of a file to write."""
    if os.path.isdir(path):
        raise ConfigError(f"{shown}: a folder. Give the name of a file to write")
    if os.path.exists(path) and not stat.S_ISREG(os.stat(path).st_mode):
        raise ConfigError(f"{shown}: not a regular file. Give the name of a file to write")
    link = os.readlink(path) if os.path.islink(path) else ""
    if any(place.startswith("/proc/") for place in (link, os.path.realpath(path.parent))):  # as /dev/stdout is one
        raise ConfigError(f"{shown}: the name of an open file, not of a place. Give the name of a file to write")


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
