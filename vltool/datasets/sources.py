"""Where the official files lie: a plain file, a member of a .zip archive, or a folder or archive of many small files.

captions_val2014.json.gz                                           unpacked as it is read
v2_Questions_Val_mscoco.zip                                        the only file in the archive
annotations_trainval2014.zip/annotations/captions_val2014.json     one member of it
annotations.zip, annotations.zip/Sentences, Sentences              a set of files (`Folder`)
"""

from __future__ import annotations

import gc
import gzip
import json
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from vltool.errors import DataError


def check_files(files: Mapping[str, Path], split: str, *, known: Sequence[str]) -> None:
    """Raises DataError for a file that a reader has no use for, and for a split that chooses none of the files.

    known: what the reader's files are called; `val_questions` is the one called `questions` of the split `val`.
    """
    for name in files:
        if name not in known and not name.endswith(tuple(f"_{plain}" for plain in known)):
            raise DataError(
                f"files: {name!r} is none of this reader's files: {', '.join(known)} (or of one split: val_{known[0]})"
            )
    if split and all(name in known for name in files):  # of a split that none of several is named for, `pick` tells
        raise DataError(
            f"split {split!r} chooses nothing: this reader's files are chosen by name ({split}_{known[0]}: …), and "
            f"given are {', '.join(sorted(files)) or 'none'}. Leave split out, or name the files for their splits"
        )


def pick(files: Mapping[str, Path], name: str, split: str = "") -> Path | None:
    """The file called `{split}_{name}` or else `name`; None if neither is there.

    With split-named files only (`train_ids`, `val_ids`), a split must be named: a DataError lists them.
    """
    if split and f"{split}_{name}" in files:
        return Path(files[f"{split}_{name}"])
    if name in files:
        return Path(files[name])
    named = sorted(key for key in files if key.endswith(f"_{name}"))
    if named:
        choices = ", ".join(key.removesuffix(f"_{name}") for key in named)
        raise DataError(f"files: no {name!r} for split {split!r}: the files named are for the splits {choices}")
    return None


def require(files: Mapping[str, Path], name: str, split: str = "") -> Path:
    """The file called `name` (see `pick`). Raises DataError with the names that are there."""
    found = pick(files, name, split)
    if found is None:
        raise DataError(f"files: {name!r} is missing (given: {', '.join(sorted(files)) or 'nothing'})")
    return found


@contextmanager
def without_collecting() -> Iterator[None]:
    """No garbage collection meanwhile: among millions of new records it finds nothing, and takes most of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@contextmanager
def keeping_json(paths: Iterable[Path]) -> Iterator[None]:
    """Meanwhile the last one read of these files is kept: who reads it again, for another split, gets the same object.

    One file at a time, as the content of some takes gigabytes.
    """
    wanted, kept = set(paths), _Kept()
    _kept.append((wanted, kept))
    try:
        yield
    finally:
        _kept.pop()


@dataclass
class _Kept:
    path: Path | None = None
    content: Any = None


_kept: list[tuple[set[Path], _Kept]] = []


def read_json(path: Path | str) -> Any:
    """The JSON in a file or archive member. Raises DataError naming the file and the place of the fault."""
    if not _kept:
        return _parse_json(path)
    wanted, kept = _kept[-1]
    if kept.path == Path(path):
        return kept.content
    kept.path, kept.content = None, None
    content = _parse_json(path)
    if Path(path) in wanted:
        kept.path, kept.content = Path(path), content
    return content


def _parse_json(path: Path | str) -> Any:
    content = read_bytes(path)
    try:
        with without_collecting():
            return json.loads(content)
    except RecursionError:
        raise DataError(f"{path}: not usable JSON: nested too deeply") from None
    except ValueError as error:  # JSONDecodeError, UnicodeDecodeError, numbers of thousands of digits
        hint = " (is the download complete?)" if content[-1:] not in (b"}", b"]", b"\n") else ""
        raise DataError(f"{path}: not JSON: {error}{hint}") from error


def read_text(path: Path | str) -> str:
    """The UTF-8 text in a file or archive member, line ends as \\n. Raises DataError."""
    return decode(read_bytes(path), path)


def decode(content: bytes, path: Path | str) -> str:
    """UTF-8 text with any line ends made \\n. Raises DataError naming the byte that is not UTF-8."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text: {error}") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_bytes(path: Path | str) -> bytes:
    """The content of a file, of the only file of an archive, or of one member (`archive.zip/member`)."""
    path = Path(path)
    archive, inner = _split_archive(path)
    if archive is None:
        try:
            return _gunzip(path.read_bytes(), path) if path.suffix.lower() == ".gz" else path.read_bytes()
        except FileNotFoundError:
            raise DataError(f"{path}: no such file") from None
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    with _open_archive(archive) as opened:
        members = _members(opened)
        if not inner and len(members) == 1:
            inner = members[0]
        if inner not in members:
            problem = f"has no member {inner!r}" if inner else "holds several files"
            listed = ", ".join(members[:8]) + (", …" if len(members) > 8 else "")
            raise DataError(f"{archive}: {problem}. Name one as {archive}/MEMBER; there are: {listed or 'none'}")
        return _read_member(opened, inner, archive)


def _gunzip(content: bytes, path: Path) -> bytes:
    if path.name.lower().endswith((".tar.gz", ".tgz")):
        raise DataError(f"{path}: tar archives are not read. Unpack it, or pack the files as .zip")
    try:
        return gzip.decompress(content)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DataError(f"{path}: cannot be unpacked: {error}") from error


class Folder:
    """The files of one suffix in a directory or archive, by stem (their name without the suffix)."""

    def __init__(self, path: Path | str, suffix: str):
        self.path = Path(path)
        self.suffix = suffix
        archive, inner = _split_archive(self.path)
        self._archive = None if archive is None else _open_archive(archive)
        found: dict[str, str] = {}
        for name in self._names(inner):
            stem = PurePosixPath(name).name.removesuffix(suffix)
            if stem in found:
                raise DataError(f"{self.path}: holds {found[stem]} and {name}; expected one file for {stem!r}")
            found[stem] = name
        self._found = found

    def _names(self, inner: str) -> list[str]:
        if self._archive is not None:
            below = f"{inner}/" if inner else ""
            names = [name for name in _members(self._archive) if name.startswith(below)]
        elif self.path.is_dir():
            names = [entry.name for entry in self.path.iterdir() if entry.is_file()]
        else:
            raise DataError(f"{self.path}: expected a folder or .zip archive of *{self.suffix} files")
        return sorted(name for name in names if name.endswith(self.suffix))

    @property
    def stems(self) -> tuple[str, ...]:
        return tuple(self._found)

    def __contains__(self, stem: str) -> bool:
        return stem in self._found

    def file_of(self, stem: str) -> Path:
        """How messages name the file of `stem`."""
        return self.path / self._found.get(stem, stem + self.suffix)

    def read(self, stem: str) -> bytes:
        """The content of the file of `stem`. Raises DataError if there is none."""
        if stem not in self._found:
            raise DataError(f"{self.file_of(stem)}: no such file ({len(self._found)} *{self.suffix} files there)")
        if self._archive is not None:
            return _read_member(self._archive, self._found[stem], self.path)
        return read_bytes(self.path / self._found[stem])

    def close(self) -> None:
        if self._archive is not None:
            self._archive.close()


def _split_archive(path: Path) -> tuple[Path | None, str]:
    """(archive, member) where a part of `path` is a .zip file; member is '' for the archive itself."""
    for part in (path, *path.parents):
        if part.suffix.lower() == ".zip" and part.is_file():
            return part, path.relative_to(part).as_posix().removeprefix(".")
    return None, ""


def _open_archive(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise DataError(f"{path}: not a readable .zip archive: {error}") from error


def _members(archive: zipfile.ZipFile) -> list[str]:
    names = (info.filename for info in archive.infolist() if not info.is_dir())
    return [name for name in names if not name.startswith("__MACOSX/") and not PurePosixPath(name).name.startswith(".")]


def _read_member(archive: zipfile.ZipFile, name: str, path: Path) -> bytes:
    try:
        return archive.read(name)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError, KeyError) as error:
        raise DataError(f"{path}: member {name}: cannot be unpacked: {error}") from error
