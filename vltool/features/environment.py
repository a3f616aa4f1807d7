"""LMDB environments of this process: one per folder, shared by everyone who reads or writes there.

LMDB must not be opened twice in a process, nor be used across a fork; both happen as soon as a trainer, its loader
processes and a report look at one store. Readers take no locks and so leave no trace, even on a read-only disk: LMDB
does not know of them, and would write over the pages that they are still reading. A writer therefore holds a snapshot
of its own from its first moment to its last, which keeps every page that anyone can have seen since.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import lmdb

from vltool.errors import StoreError

# Address space, not memory or disk. Growing takes every transaction of a process its pages, so that it should be rare.
FIRST_MAP_SIZE = 256 * 2**30
SMALL_MAP_SIZE = 64 * 2**20  # where the address space is limited (ulimit -v)
Result = TypeVar("Result")


class Environment:
    """One LMDB folder, opened in this process for reading or for writing."""

    def __init__(self, folder: Path, *, writable: bool) -> None:
        self.folder = folder
        self.writable = writable
        self.num_users = 0
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._snapshot: Any = None
        self._env = self._open()

    def _open(self) -> Any:
        file = self.folder / "data.mdb"
        size = file.stat().st_size if file.exists() else 0
        try:
            if size or not self.writable:  # a writer killed in its first moment leaves an empty file: begun anew
                self._refuse_truncated(size)
            env = self._map(max(FIRST_MAP_SIZE, 2 * size)) or self._map(max(SMALL_MAP_SIZE, size))
            if env is None:
                raise StoreError(f"{self.folder}: no address space for {size:,} bytes; is it limited (ulimit -v)?")
            self._snapshot = env.begin() if self.writable else None
            return env
        except lmdb.Error as error:
            raise StoreError(
                f"{self.folder}: not a readable LMDB database: {error}. Copy it again, or extract the features again"
            ) from error

    def _map(self, size: int) -> Any:
        """The lmdb.Environment with room for this many bytes, None where there is no address space for them."""
        options = {} if self.writable else {"readonly": True, "lock": False, "create": False}
        try:
            return lmdb.open(str(self.folder), map_size=size, readahead=False, **options)
        except (MemoryError, lmdb.MemoryError):
            return None
        except lmdb.Error as error:
            if os.strerror(errno.ENOMEM) in str(error):
                return None
            raise

    def _refuse_truncated(self, size: int) -> None:
        """Raises StoreError if data.mdb is shorter than its last page: going on would end in a bus error."""
        if size == 0:
            raise StoreError(f"{self.folder}: data.mdb is empty; remove the folder, or copy the store again")
        with lmdb.open(str(self.folder), readonly=True, lock=False, readahead=False, create=False) as env:
            needed = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
        if needed > size:
            raise StoreError(
                f"{self.folder}: data.mdb is truncated ({size:,} of {needed:,} bytes); copy it again, or extract the "
                "features again"
            )

    def current(self) -> Any:
        """The lmdb.Environment, opened anew in a process that was forked since."""
        if self._pid != os.getpid():
            with self._lock:
                if self._pid != os.getpid():
                    self._snapshot = None
                    self._env.close()
                    self.writable = False  # the parent writes
                    self._env = self._open()
                    self._pid = os.getpid()
        return self._env

    def make_writable(self) -> None:
        with self._lock:
            self.close()
            self.writable = True
            self._env = self._open()

    @contextmanager
    def reading(self) -> Iterator[Any]:
        """A read transaction; values are views that end with it."""
        env = self.current()
        try:
            transaction = env.begin(buffers=True)
        except lmdb.MapResizedError:  # another process has let the store grow
            env.set_mapsize(2 * (self.folder / "data.mdb").stat().st_size)
            transaction = env.begin(buffers=True)
        try:
            with transaction:
                yield transaction
        except lmdb.Error as error:
            raise StoreError(
                f"{self.folder}: data.mdb is damaged: {error}. Copy it again, or extract the features again"
            ) from error

    def write(self, job: Callable[[Any], Result]) -> Result:
        """Runs `job` in a write transaction, all or nothing; the map grows until it fits."""
        env = self.current()
        while True:
            try:
                with env.begin(write=True) as transaction:
                    return job(transaction)
            except lmdb.MapFullError:
                self._grow()
            except lmdb.Error as error:  # what the system says is in its text alone
                raise StoreError(
                    f"{self.folder}: cannot write: {error}. Is the disk or the quota full? What was committed before "
                    "is whole; make room and run the command again"
                ) from error

    def _grow(self) -> None:
        self._let_go()
        self._env.set_mapsize(2 * self._env.info()["map_size"])
        self._snapshot = self._env.begin()

    def _let_go(self) -> None:
        if self._snapshot is not None:
            self._snapshot.abort()
            self._snapshot = None

    def close(self) -> None:
        self._let_go()
        self._env.close()


_open_environments: dict[Path, Environment] = {}
_registry_lock = threading.Lock()


def acquire(folder: Path, *, writable: bool = False) -> Environment:
    """The environment of a folder; `release` it when done."""
    key = folder.resolve()
    with _registry_lock:
        environment = _open_environments.get(key)
        if environment is None:
            environment = _open_environments[key] = Environment(key, writable=writable)
        elif writable and not environment.writable:
            environment.make_writable()
        environment.num_users += 1
        return environment


def release(environment: Environment) -> None:
    """Gives an environment back; the last one closes it."""
    with _registry_lock:
        environment.num_users -= 1
        if environment.num_users == 0:
            _open_environments.pop(environment.folder, None)
            environment.close()
