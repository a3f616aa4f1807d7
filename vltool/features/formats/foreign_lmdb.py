"""LMDB databases of other tools: values under names, and one entry that lists the names.

Readers accept the folder or its data.mdb. Written databases grow as they are filled; nothing is mapped for writing,
so that a file is as large as its content.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from vltool.errors import DataError, StoreError
from vltool.features.environment import Environment, acquire, release
from vltool.features.formats.format import About, Writer

VALUES_PER_COMMIT = 32


def lmdb_folder(source: Path) -> Path:
    """The folder of an LMDB database named by itself or by its data.mdb."""
    folder = source.parent if source.name == "data.mdb" else source
    if not (folder / "data.mdb").is_file():
        raise DataError(f"{source}: no LMDB database here (a folder with data.mdb in it)")
    return folder


class ForeignLmdb:
    """An LMDB database of other tools, for reading."""

    def __init__(self, source: Path, list_key: bytes, parse_list: Callable[[bytes], list[bytes]]) -> None:
        """list_key: the entry that lists the names. parse_list: from its value to the names."""
        self.list_key = list_key
        self.folder = lmdb_folder(source)
        self.environment: Environment = acquire(self.folder)
        try:
            data = self.get(list_key)
            self.names = self.all_names() if data is None else parse_list(data)
        except BaseException:
            self.close()
            raise

    def all_names(self) -> list[bytes]:
        """Names in the order of their bytes, for a database that was never finished and so has no list."""
        with self.environment.reading() as transaction:
            names = (bytes(key) for key in transaction.cursor().iternext(values=False))
            return [name for name in names if name != self.list_key and name[:1] != b"\0"]

    def unlisted(self) -> Iterator[bytes]:
        """Names that the list lacks."""
        listed = set(self.names)
        return (name for name in self.all_names() if name not in listed)

    def get(self, name: bytes) -> bytes | None:
        with self.environment.reading() as transaction:
            value = transaction.get(name)
            return None if value is None else bytes(value)

    def value(self, name: bytes) -> bytes:
        """A value. Raises DataError where a name is listed, but not there."""
        found = self.get(name)
        if found is None:
            raise DataError(f"listed under {self.list_key.decode()!r}, but not in the database")
        return found

    def close(self) -> None:
        release(self.environment)

    def __enter__(self) -> ForeignLmdb:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class LmdbWriter(Writer):
    """Puts values under names, and at the end the list of the names."""

    def __init__(self, dest: Path, about: About) -> None:
        super().__init__(dest, about)
        self.unfinished.mkdir()
        self.environment = acquire(self.unfinished, writable=True)
        self.names: list[bytes] = []
        self.pending: dict[bytes, bytes] = {}

    def put(self, name: str, value: bytes) -> None:
        key = name.encode()
        if not 0 < len(key) <= 511:
            raise DataError(f"{name!r:.80}: a name in LMDB has 1 to 511 bytes")
        self.pending[key] = value
        self.names.append(key)
        if len(self.pending) >= VALUES_PER_COMMIT:
            self.flush()

    def flush(self) -> None:
        try:
            self.environment.write(lambda transaction: [transaction.put(*item) for item in self.pending.items()])
        except StoreError as error:
            raise StoreError(f"{self.dest}: cannot be written, nothing of it is left: {error.__cause__}") from error
        self.pending.clear()

    def close(self) -> None:
        self.pending[self.list_key] = self.make_list(self.names)
        self.flush()
        self.release()

    def release(self) -> None:
        release(self.environment)
        (self.unfinished / "lock.mdb").unlink(missing_ok=True)

    list_key = b"keys"

    def make_list(self, names: list[bytes]) -> bytes:
        raise NotImplementedError
