"""Word vectors in text form (GloVe, fastText, word2vec text): the rows that a vocabulary needs, and only those.

    the 0.418 0.24968 -0.41242 … 50 numbers          glove.6B.50d.txt
    400000 50                                        a first line that some files have: words, width
    . . . -0.1573 0.29517 …                          words may hold spaces (glove.840B): counted from the right

A file is scanned as bytes; a line is parsed only if its first word begins one of the vocabulary's words.
"""

from __future__ import annotations

import codecs
import gzip
import hashlib
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import numpy as np

from vltool.errors import DataError
from vltool.text.vocabulary import PADDING_WORD, UNKNOWN_WORD

_SAMPLE = 200  # lines that tell the width of the vectors
_MOST_LISTED = 100
_BUFFER = 2**18  # bytes read at once: lines of 300 numbers are long


@dataclass
class _Scan:
    """What one pass over a file found. vectors: row → numbers."""

    vectors: dict[int, np.ndarray] = field(default_factory=dict)
    duplicates: int = 0
    lines: int = 0
    num_bad_lines: int = 0
    bad_lines: list[list[Any]] = field(default_factory=list)

    def note(self, number: int, problem: str) -> None:
        self.num_bad_lines += 1
        if len(self.bad_lines) < _MOST_LISTED:
            self.bad_lines.append([number, problem])


def load_vectors(
    path: Path | str, words: Sequence[str], *, dim: int | None = None, seed: int = 0
) -> tuple[np.ndarray, dict[str, Any]]:
    """(V, dim) float32, a row for each of `words`, and how far the file covers them.

    path: a text file (.gz too), a .zip with one, or `archive.zip/member`; of several members `dim` picks `….{dim}d.…`.
    dim: the width expected (default: the file's). Where a word comes twice in the file, the first line counts.
    Padding is zeros. A word without vector, and the unknown word, gets numbers from a normal distribution with the
    standard deviation of the vectors found; they depend on the word, `seed` and that deviation alone. Zeros would
    make all such words the same to frozen embeddings.
    Coverage: words (V less the two special ones), found, missing (list), duplicates, lines, num_bad_lines, bad_lines
    (the first 100: line number, what is wrong; of other words' lines only the length is checked), dim, std.
    Raises DataError, also if the file covers no word at all.
    """
    rows = {word.encode(): row for row, word in enumerate(words) if word not in (PADDING_WORD, UNKNOWN_WORD)}
    with _open(Path(path), dim) as file:
        found = _first_lines(file, Path(path))
        width = _width(found, Path(path), dim)
        scan = _scan(chain(found, file), rows, width)
    if rows and not scan.vectors:
        raise DataError(
            f"{path}: none of the {len(rows)} words has a vector of {width} numbers there: another language?"
        )
    return _fill(scan, words, width, seed), _coverage(scan, words, rows, width)


def width_of(path: Path | str, *, dim: int | None = None) -> int:
    """How many numbers the vectors of a file have, by its first lines. Raises DataError.

    Also where these are no numbers, or not as many as its name says (`glove.840B.300d.txt`).
    """
    path = Path(path)
    with _open(path, dim) as file:
        lines = _first_lines(file, path)
    width = _width(lines, path, dim)
    try:
        np.array(lines[-1].split()[-width:], float)
    except ValueError:
        raise DataError(f"{path}: not word vectors: line {len(lines)} holds something else than numbers") from None
    named = re.search(r"\.(\d+)d\.", path.name)
    if named and int(named[1]) != width:
        raise DataError(f"{path}: its vectors have {width} numbers, and its name says {named[1]}: another file?")
    return width


def content_key(path: Path | str, words: Sequence[str], *, dim: int | None = None, seed: int = 0) -> str:
    """Digest of all that `load_vectors` depends on: the content of the file or archive, the words, dim and seed."""
    path = Path(path)
    archive = next((part for part in (path, *path.parents) if part.is_file()), path)
    try:
        with archive.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file of word vectors") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    member = path.relative_to(archive).as_posix()
    return hashlib.sha256("\n".join([content, member, str(dim), str(seed), *words]).encode()).hexdigest()


@contextmanager
def _open(path: Path, dim: int | None) -> Iterator[BinaryIO]:
    """The lines of a text file or archive member as bytes; anything that cannot be read is a DataError."""
    archive = next((part for part in (path, *path.parents) if part.suffix.lower() == ".zip" and part.is_file()), None)
    try:
        if path.suffix.lower() == ".gz":
            with gzip.open(path, "rb") as unpacked:
                yield unpacked  # type: ignore[misc]
        elif archive is None:
            with path.open("rb", buffering=_BUFFER) as file:
                yield file
        else:
            with zipfile.ZipFile(archive) as opened:
                with opened.open(_member(opened, archive, path.relative_to(archive).as_posix(), dim)) as member:
                    yield member  # type: ignore[misc]
    except FileNotFoundError:
        raise DataError(f"{path}: no such file of word vectors") from None
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error


def _member(archive: zipfile.ZipFile, path: Path, inner: str, dim: int | None) -> str:
    names = [info.filename for info in archive.infolist() if not info.is_dir() and "__MACOSX" not in info.filename]
    chosen = [name for name in names if name == inner]
    if inner == ".":
        chosen = names if len(names) == 1 else [name for name in names if f".{dim}d." in PurePosixPath(name).name]
    if len(chosen) != 1:
        raise DataError(f"{path}: name one member as {path}/MEMBER; there are: {', '.join(names[:10]) or 'none'}")
    return chosen[0]


def _first_lines(file: Iterable[bytes], path: Path) -> list[bytes]:
    found = list(islice(file, _SAMPLE))
    if not found:
        raise DataError(f"{path}: empty; expected a word and its numbers on every line")
    found[0] = found[0].removeprefix(codecs.BOM_UTF8)
    return found


def _width(first_lines: Sequence[bytes], path: Path, dim: int | None) -> int:
    """The number of numbers on most of the first lines. Raises DataError if that is 0 or not `dim`."""
    counts = Counter(len(line.split()) - 1 for line in first_lines[_is_header(first_lines) :] if line.strip())
    width = counts.most_common(1)[0][0] if counts else 0
    if width < 1:
        raise DataError(f"{path}: not word vectors: expected a word and its numbers on every line")
    if dim is not None and width != dim:
        raise DataError(f"{path}: its vectors have {width} numbers, expected {dim}")
    return width


def _is_header(first_lines: Sequence[bytes]) -> bool:
    parts = first_lines[0].split()
    return len(parts) == 2 and all(part.isdigit() for part in parts) and len(first_lines[-1].split()) != 2


def _scan(lines: Iterable[bytes], rows: dict[bytes, int], width: int) -> _Scan:
    scan = _Scan()
    beginnings = {word.split(b" ", 1)[0] for word in rows}
    for number, line in enumerate(lines, start=1):
        scan.lines = number
        first = line[: line.find(b" ")]
        if line.count(b" ") < width:
            if line.strip() and not (number == 1 and _is_header([line, b""])):
                scan.note(number, f"fewer than {width} numbers")
        elif first in beginnings:
            _take(scan, number, line, rows, width)
    return scan


def _take(scan: _Scan, number: int, line: bytes, rows: dict[bytes, int], width: int) -> None:
    word, *parts = line.rstrip().rsplit(b" ", width)
    row = rows.get(word)
    if row is None:
        return
    if row in scan.vectors:
        scan.duplicates += 1
        return
    try:
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is noted below
            vector = np.fromiter(map(float, parts), np.float32, len(parts))
    except ValueError:
        scan.note(number, "not all numbers")
        return
    if len(vector) != width or not np.isfinite(vector).all():
        scan.note(number, f"not {width} finite numbers")
    else:
        scan.vectors[row] = vector


def _fill(scan: _Scan, words: Sequence[str], width: int, seed: int) -> np.ndarray:
    std = _std(scan)
    matrix = np.zeros((len(words), width), np.float32)
    for row, word in enumerate(words):
        if row in scan.vectors:
            matrix[row] = scan.vectors[row]
        elif word != PADDING_WORD:
            digest = hashlib.sha256(f"{seed} {word}".encode()).digest()
            matrix[row] = np.random.default_rng(int.from_bytes(digest[:8], "big")).normal(0, std, width)
    return matrix


def _std(scan: _Scan) -> float:
    if not scan.vectors:
        return 1.0
    vectors = np.stack(list(scan.vectors.values()))
    with np.errstate(over="ignore"):
        std = float(np.std(vectors))
    return std if np.isfinite(std) else float(np.std(vectors, dtype=np.float64))  # squares past float32


def _coverage(scan: _Scan, words: Sequence[str], rows: dict[bytes, int], width: int) -> dict[str, Any]:
    return {
        "words": len(rows),
        "found": len(scan.vectors),
        "missing": [words[row] for row in rows.values() if row not in scan.vectors],
        "duplicates": scan.duplicates,
        "lines": scan.lines,
        "num_bad_lines": scan.num_bad_lines,
        "bad_lines": scan.bad_lines,
        "dim": width,
        "std": _std(scan),
    }
