"""Files too large to be held at once: JSON lines, and the members of one JSON object or list, read one by one.

guesswhat.train.jsonl.gz                {"dialogue_id": 2400, …}          a record a line
train_balanced_questions.json           {"02930152": {…}, "07333408": …}  a gigabyte in one object
question_answers.json                   [{"id": 1, "qas": […]}, …]        or in one list
"""

from __future__ import annotations

import codecs
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from vltool.datasets.checks import is_unicode
from vltool.datasets.sources import read_bytes
from vltool.errors import DataError

_CHUNK = 1 << 20
_DECODER = json.JSONDecoder()
_OF_NUMBERS = ("", *"0123456789.eE+-")


def lines(path: Path | str) -> Iterator[tuple[int, str]]:
    """(number from 1, line) of every line that is not blank, of a plain, gzipped or zipped UTF-8 file."""
    with _opened(path) as file:
        for number, line in enumerate(file, start=1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise DataError(f"{path}: line {number}: not UTF-8 text: {error}") from error
            if text.strip():
                yield number, text.rstrip("\r\n")


def json_lines(path: Path | str) -> Iterator[tuple[int, Any]]:
    """(number from 1, content) of every line of a file of JSON lines. Raises DataError naming the line."""
    for number, line in lines(path):
        try:
            yield number, json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}: line {number}: not JSON: {error} (is the download complete?)") from error


def list_members(path: Path | str, *, what: str = "values") -> Iterator[tuple[int, Any]]:
    """(place, value) of a file that holds one JSON list, one value at a time. what: what they are called in messages.

    Raises DataError for what is no such list or is cut off.
    """
    for place, (_, value) in enumerate(_members(path, "[", f"a list of {what}")):
        yield place, value


def object_members(path: Path | str, *, what: str = "values") -> Iterator[tuple[str, Any]]:
    """(key, value) of a file that holds one JSON object, one value at a time.

    Raises DataError for what is no such object, is cut off, or has a key twice.
    """
    yield from _members(path, "{", f"an object of {what}")


def _members(path: Path | str, kind: str, expected: str) -> Iterator[tuple[str, Any]]:
    closing = {"{": "}", "[": "]"}[kind]
    with _opened(path) as file:
        text = _Text(file, path)
        if text.symbol() != kind:
            raise DataError(f"{path}: expected {expected}")
        seen: set[str] = set()
        ended = text.skip(closing)
        while not ended:
            key = ""
            if kind == "{":
                key = text.value()
                if not isinstance(key, str) or key in seen:
                    raise DataError(f"{path}: expected a key of its own for each of {expected}, found {key!r:.60}")
                if not is_unicode(key):
                    raise DataError(f"{path}: half of a surrogate pair is no Unicode text: a key is {key!r:.60}")
                seen.add(key)
                text.expect(":")
            yield key, text.value()
            ended = text.skip(closing)
            if not ended:
                text.expect(",")
        if text.symbol():
            raise DataError(f"{path}: expected nothing after {expected}")


class _Text:
    """The text of a stream from where it was last read; only what one value needs is held."""

    def __init__(self, file: IO[bytes], path: Path | str):
        self._file, self._path = file, path
        self._decode = codecs.getincrementaldecoder("utf-8-sig")().decode
        self._held, self._at, self._ended = "", 0, False

    def symbol(self) -> str:
        """The next character that is no white space, "" at the end."""
        found = self._peek()
        self._at += len(found)
        return found

    def skip(self, symbol: str) -> bool:
        """Whether `symbol` comes next; if so it is passed over."""
        found = self._peek() == symbol
        self._at += found
        return found

    def expect(self, symbol: str) -> None:
        if not self.skip(symbol):
            self._fail(f"expected {symbol!r}")

    def value(self) -> Any:
        """The next JSON value, read in full."""
        self._peek()
        while True:
            try:
                found, end = _DECODER.raw_decode(self._held, self._at)
                if self._ended or self._held[end : end + 1] not in _OF_NUMBERS:  # else a number may go on
                    self._at = end
                    return found
            except RecursionError:
                self._fail("nested too deeply")
            except ValueError as error:
                if self._ended:
                    self._fail(str(error))
            self._more()

    def _peek(self) -> str:
        while True:
            while self._at < len(self._held) and self._held[self._at] in " \t\r\n":
                self._at += 1
            if self._at < len(self._held) or self._ended:
                return self._held[self._at : self._at + 1]
            self._more()

    def _more(self) -> None:
        # Twice as much as before, so that a long value is not tried again for every piece of it.
        data = self._file.read(max(_CHUNK, len(self._held) - self._at))
        self._ended = not data
        try:
            self._held = self._held[self._at :] + self._decode(data, final=self._ended)
        except UnicodeDecodeError as error:
            raise DataError(f"{self._path}: not UTF-8 text: {error}") from error
        self._at = 0

    def _fail(self, reason: str) -> None:
        near = self._held[self._at : self._at + 40]
        hint = " (is the download complete?)" if self._ended else ""
        raise DataError(f"{self._path}: not usable JSON: {reason} before {near!r}{hint}")


@contextmanager
def _opened(path: Path | str) -> Iterator[IO[bytes]]:
    """The bytes of a file, unpacked where it is packed. Raises DataError, also while it is read."""
    path = Path(path)
    try:
        if path.suffix.lower() == ".gz" and not path.name.lower().endswith(".tar.gz") and path.is_file():
            with gzip.open(path) as packed:
                yield packed  # type: ignore[misc]
        elif path.is_file() and path.suffix.lower() not in (".zip", ".gz", ".tgz"):
            with path.open("rb") as file:
                yield file
        else:  # archives, their members, and what is not there
            yield io.BytesIO(read_bytes(path))
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
