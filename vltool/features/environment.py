"""LMDB environments of this process: one per folder, shared by everyone who reads or writes there.

LMDB must not be opened twice in a process, nor be used across a fork; both happen as soon as a trainer, its loader
processes and a report look at one store. Readers take no locks and so leave no trace, even on a read-only disk.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import lmdb

from vltool.errors import StoreError

FIRST_MAP_SIZE = 64 * 2**20
Result = TypeVar("Result")


class Environment:
    """One LMDB folder, opened in this process for reading or for writing."""

    def __init__(self, folder: Path, *, writable: bool) -> None:
        self.folder = folder
        self.writable = writable
        self.num_users = 0
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._env = self._open()

    def _open(self) -> Any:
        file = self.folder / "data.mdb"
        try:
            if self.writable:
                size = file.stat().st_size if file.exists() else 0
                if file.exists():
                    self._refuse_truncated(size)
                return lmdb.open(str(self.folder), map_size=max(FIRST_MAP_SIZE, 2 * size), readahead=False)
            self._refuse_truncated(file.stat().st_size if file.exists() else 0)
            return lmdb.open(str(self.folder), readonly=True, lock=False, readahead=False, create=False)
        except lmdb.Error as error:
            raise StoreError(
                f"{self.folder}: not a readable LMDB database: {error}. Copy it again, or extract the features again"
            ) from error

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
                    self._env.close()
                    self.writable = False  # the parent writes
                    self._env = self._open()
                    self._pid = os.getpid()
        return self._env

    def make_writable(self) -> None:
        with self._lock:
            self._env.close()
            self.writable = True
            self._env = self._open()

    @contextmanager
    def reading(self) -> Iterator[Any]:
        """A read transaction; values are views that end with it."""
        env = self.current()
        try:
            transaction = env.begin(buffers=True)
        except lmdb.MapResizedError:  # another process has let the store grow
            env.set_mapsize(0)
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
                env.set_mapsize(2 * env.info()["map_size"])
            except lmdb.DiskError as error:
                raise StoreError(f"{self.folder}: cannot write: {error}. Is the disk full?") from error

    def close(self) -> None:
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
