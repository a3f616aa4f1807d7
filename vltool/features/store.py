"""Region features of many pictures in one LMDB folder, found by image id.

A folder holds `data.mdb`, and while it is written, locks. Keys are image ids (UTF-8), values are the records of
`record.py`; "\\0header" and "\\0state" hold JSON: `header.py`, and {"images", "regions", "complete"}.
Commits are transactions on disk: a process that is killed loses the pictures since the last one (at most 32, or
two seconds), and never leaves a store that cannot be read.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np

from vltool.errors import DataError, StoreError
from vltool.features import record
from vltool.features.environment import Environment, acquire, release
from vltool.features.folder import lock_for_writing, store_folder, unlock
from vltool.features.header import FORMAT, IDENTITY, VERSION, check_same_origin
from vltool.structures import ImageId, RegionFeatures

HEADER_KEY, STATE_KEY = b"\0header", b"\0state"
NUM_OWN_KEYS = 2
MAX_KEY_BYTES = 511  # of LMDB
IMAGES_PER_COMMIT, SECONDS_PER_COMMIT = 32, 2.0


class RegionStore:
    """Region features by image id. Open it with `RegionStore.open` or `RegionStore.create`; a context manager.

    Any number of processes may read, also while one writes; a store opened before a fork, or pickled, works in the
    other process.
    """

    def __init__(self, folder: Path, environment: Environment, *, lock: int | None) -> None:
        """lock: descriptor of the locked `write.lock` where the store is open for writing."""
        self.path = folder
        self.header: dict[str, Any] = {}
        self._environment: Environment | None = environment
        self._lock = lock
        self._writer_pid = os.getpid()
        self._pending: dict[bytes, tuple[bytes, int]] = {}  # record, number of regions
        self._first_pending = 0.0
        self._layouts: dict[str, record.Layout] = {}  # of the records whose checksums this process has compared

    @classmethod
    def create(cls, path: str | Path, header: Mapping[str, Any]) -> RegionStore:
        """A new store, open for writing. Raises StoreError if there is one already, or another process writes it."""
        store = cls._open_writable(store_folder(path, create=True))
        try:
            if store._read_json(HEADER_KEY) is not None:
                raise StoreError(f"{store.path}: already a feature store; go on with RegionStore.open, or delete it")
            store._write_header(header)
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    def open_or_create(cls, path: str | Path, header: Mapping[str, Any]) -> RegionStore:
        """The store at `path`, open for adding to, made if there is none.

        Raises StoreError if it holds features of another origin than `header` says.
        """
        store = cls._open_writable(store_folder(path, create=True))
        try:
            if store._num_entries() == 0:
                store._write_header(header)
            else:
                store.header = store._read_header()
                check_same_origin(store.header, header, where=str(store.path))
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    def open(cls, path: str | Path, *, mode: Literal["r", "a"] = "r") -> RegionStore:
        """An existing store, for reading ("r") or for adding to ("a"). path: the folder, or its data.mdb.

        Raises StoreError where there is none, it is another kind of database, or damaged.
        """
        if mode == "a":
            store = cls._open_writable(store_folder(path, writable=True))
        else:
            folder = store_folder(path)
            store = cls(folder, acquire(folder), lock=None)
        try:
            store.header = store._read_header()
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    def _open_writable(cls, folder: Path) -> RegionStore:
        lock = lock_for_writing(folder)
        try:
            return cls(folder, acquire(folder, writable=True), lock=lock)
        except BaseException:
            os.close(lock)
            raise

    def put(self, regions: RegionFeatures, source: Mapping[str, Any] | None = None) -> None:
        """Adds a picture. source: what is known of its file, JSON values: name, bytes, sha256, phash.

        Raises StoreError for an id that is there already, and for features that do not belong here.
        """
        self.put_encoded(regions.image_id, encode_for(regions, source, self.header), regions.num_regions)

    def put_encoded(self, image_id: str, data: bytes, num_regions: int) -> None:
        """Adds a picture's record as `encode_for` made it, perhaps in another process."""
        if self._lock is None or self._writer_pid != os.getpid():
            raise StoreError(f"{self.path}: open for reading only; open it with mode='a' to add to it")
        key = key_of(image_id)
        if image_id in self:
            raise StoreError(f"{self.path}: has features for image {image_id!r} already")
        if not self._pending:
            self._first_pending = time.monotonic()
        self._pending[key] = (data, num_regions)
        if len(self._pending) >= IMAGES_PER_COMMIT or time.monotonic() - self._first_pending > SECONDS_PER_COMMIT:
            self.flush()

    def flush(self, *, complete: bool | None = None) -> None:
        """Commits what was put. complete: notes that all pictures are there (or are not)."""
        if not self._pending and complete is None:
            return
        state = dict(self.state)
        state["images"] += len(self._pending)
        state["regions"] += sum(num_regions for _, num_regions in self._pending.values())
        if complete is not None:
            state["complete"] = complete

        def write(transaction: Any) -> None:
            for key, (data, _) in self._pending.items():
                transaction.put(key, data, overwrite=False)
            transaction.put(STATE_KEY, json.dumps(state).encode())

        self.environment.write(write)
        self._pending.clear()

    def get(self, image_id: str) -> RegionFeatures:
        """The regions of a picture. The arrays are copies: they may be changed, and outlive the store.

        Raises DataError for an id that is not there, StoreError for a damaged record (checked once per process).
        """
        return self._decode(image_id)[0]

    @contextmanager
    def views(self) -> Iterator[Callable[[str], RegionFeatures]]:
        """Gives a function like `get` for features and boxes alone, which are not copied.

        The arrays are read-only, and valid in the `with` block alone. Pictures that this process has put are seen once
        they are committed. Raises as `get` does.
        """
        with self.environment.reading() as transaction:

            def locate(image_id: str) -> tuple[memoryview, record.Layout]:
                data = transaction.get(image_id.encode())
                if data is None or image_id not in self._layouts:
                    self.get(image_id)  # compares its checksum, or says what is wrong
                if data is None:
                    raise StoreError(f"{self.path}: image {image_id!r} was put after the views were opened")
                return data, self._layouts[image_id]

            yield record.viewer(locate)

    def source(self, image_id: str) -> dict[str, Any]:
        """What is known of a picture's file: name, bytes, sha256, phash."""
        return self._decode(image_id)[1]

    def _decode(self, image_id: str) -> tuple[RegionFeatures, dict[str, Any]]:
        key = key_of(image_id)
        if key in self._pending:
            return record.decode(self._pending[key][0])
        with self.environment.reading() as transaction:
            data = transaction.get(key)
            if data is None:
                raise DataError(
                    f"{self.path}: no features for image {image_id!r} ({len(self):,} images in the store). "
                    f"Run: vltool extract-features IMAGES --out {self.path}"
                )
            try:
                decoded = record.decode(data, check=image_id not in self._layouts)
            except StoreError as error:
                raise StoreError(
                    f"{self.path}: the record of image {image_id!r} is damaged: {error}. "
                    f"Run: vltool features verify {self.path}"
                ) from error
            if image_id not in self._layouts:
                self._layouts[image_id] = record.layout_of(data)
        return decoded

    def __contains__(self, image_id: object) -> bool:
        if not isinstance(image_id, str):
            return False
        try:
            key = key_of(image_id)
        except DataError:
            return False
        if key in self._pending:
            return True
        with self.environment.reading() as transaction:
            return transaction.get(key) is not None

    def __len__(self) -> int:
        return max(0, self._num_entries() - NUM_OWN_KEYS) + len(self._pending)

    def _num_entries(self) -> int:
        with self.environment.reading() as transaction:
            return int(transaction.stat()["entries"])

    def image_ids(self) -> list[ImageId]:
        """All ids, in the order of their bytes."""
        with self.environment.reading() as transaction:
            cursor = transaction.cursor()
            keys = [bytes(key) for key in cursor.iternext(values=False) if bytes(key[:1]) != b"\0"]
        try:
            return [ImageId(key.decode()) for key in sorted([*keys, *self._pending])]
        except UnicodeDecodeError as error:
            raise StoreError(f"{self.path}: an image id is damaged: {error}. Copy the store again") from error

    def __iter__(self) -> Iterator[RegionFeatures]:
        return (self.get(image_id) for image_id in self.image_ids())

    def damaged_ids(self) -> list[ImageId]:
        """Ids of the records that are not what was written; reads them all. StoreError where records are lost."""
        damaged = []
        count = 0
        with self.environment.reading() as transaction:
            for key, data in transaction.cursor().iternext():
                if bytes(key[:1]) == b"\0":
                    continue
                count += 1
                image_id = bytes(key).decode(errors="replace")
                if not record.is_of(image_id, data):
                    damaged.append(ImageId(image_id))
        if count != self.state["images"]:
            raise StoreError(
                f"{self.path}: {count:,} records where {self.state['images']:,} were written. "
                "Copy the store again, or extract the features again"
            )
        return damaged

    @property
    def state(self) -> dict[str, Any]:
        """Committed so far: {"images", "regions", "complete"}."""
        state = {"images": 0, "regions": 0, "complete": False}
        found = self._read_json(STATE_KEY) or state
        if state.keys() - found.keys():
            raise StoreError(f"{self.path}: its state is damaged: {found}; extract the features again")
        return found

    @property
    def feature_dim(self) -> int:
        return int(self.header["feature_dim"])

    @property
    def environment(self) -> Environment:
        if self._environment is None:
            raise StoreError(f"{self.path}: the store was closed")
        return self._environment

    def _read_json(self, key: bytes) -> dict[str, Any] | None:
        with self.environment.reading() as transaction:
            data = transaction.get(key)
            try:
                return None if data is None else dict(json.loads(bytes(data)))
            except (TypeError, ValueError) as error:
                raise StoreError(f"{self.path}: its header is damaged: {error}; extract the features again") from error

    def _read_header(self) -> dict[str, Any]:
        header = self._read_json(HEADER_KEY)
        if header is None or header.get("format") != FORMAT:
            raise StoreError(
                f"{self.path}: an LMDB database, but not a vltool feature store. "
                f"If other tools wrote it, run: vltool features import FORMAT {self.path} --out STORE"
            )
        missing = [name for name in (*IDENTITY, "version", "detector", "class_names") if name not in header]
        if missing:
            raise StoreError(f"{self.path}: its header is damaged: no {missing[0]} in it; extract the features again")
        if header["version"] > VERSION:
            raise StoreError(f"{self.path}: written by a newer vltool (format {header['version']}); update vltool")
        return header

    def _write_header(self, header: Mapping[str, Any]) -> None:
        if self._num_entries():
            raise StoreError(f"{self.path}: an LMDB database, but not a vltool feature store; choose another folder")
        self.header = dict(header)
        state = {"images": 0, "regions": 0, "complete": False}

        def write(transaction: Any) -> None:
            transaction.put(HEADER_KEY, json.dumps(self.header).encode())
            transaction.put(STATE_KEY, json.dumps(state).encode())

        self.environment.write(write)

    def close(self) -> None:
        """Commits what was put, and lets others write."""
        if self._environment is None:
            return
        is_writer = self._lock is not None and self._writer_pid == os.getpid()
        try:
            if is_writer:
                self.flush()
        finally:
            release(self._environment)
            self._environment = None
            if self._lock is not None:
                # In a forked process, unlocking would unlock the writer's too.
                unlock(self._lock) if is_writer else os.close(self._lock)
                self._lock = None

    def __enter__(self) -> RegionStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        if self._lock is not None:
            raise StoreError(f"{self.path}: a store that is open for writing cannot go to another process")
        return RegionStore.open, (str(self.path),)


def encode_for(regions: RegionFeatures, source: Mapping[str, Any] | None, header: Mapping[str, Any]) -> bytes:
    """The record of a picture in the width and number format of a store. Raises StoreError where it does not fit."""
    where = f"image {regions.image_id!r}"
    count, width = regions.features.shape
    if width != header["feature_dim"]:
        raise StoreError(f"{where}: features of width {width}, but the store's have {header['feature_dim']}")
    for name in record.ARRAYS:
        array = getattr(regions, name)
        if array is not None and len(array) != count:
            raise StoreError(f"{where}: {len(array)} {name} for {count} regions")
    if regions.boxes.shape != (count, 4):
        raise StoreError(f"{where}: boxes of shape {regions.boxes.shape}, expected {(count, 4)}")
    with np.errstate(over="ignore"):
        features = regions.features.astype(header["dtype"])
    if not np.isfinite(features).all():
        largest = float(np.abs(regions.features).max())
        raise StoreError(f"{where}: features up to {largest:g} do not fit {header['dtype']}; use --dtype float32")
    values = {name: getattr(regions, name) for name in record.ARRAYS if name != "features"}
    fitting = RegionFeatures(regions.image_id, features, height=regions.height, width=regions.width, **values)
    return record.encode(fitting, source)


def key_of(image_id: str) -> bytes:
    try:
        key = image_id.encode()
    except UnicodeEncodeError:
        key = b""
    if not key or key[:1] == b"\0" or len(key) > MAX_KEY_BYTES:
        raise DataError(f"image id {image_id!r:.80} cannot be stored: it needs 1 to {MAX_KEY_BYTES} bytes of text")
    return key


def info(path: str | Path) -> dict[str, Any]:
    """What a store holds and how it was made, JSON values; see docs for the names."""
    with RegionStore.open(path) as store:
        header, state = store.header, store.state
        return {
            "images": len(store),
            "regions": state["regions"],
            "feature_dim": header["feature_dim"],
            "dtype": header["dtype"],
            "bytes": (store.path / "data.mdb").stat().st_size,
            "backend": header["backend"],
            "recipe": header["recipe"]["name"],
            "fingerprint": header["fingerprint"],
            "complete": state["complete"],
            "precision": header["precision"],
            "detector": header["detector"].get("name", ""),
            "recipe_numbers": header["recipe"],
            "versions": header["versions"],
        }


def verify(path: str | Path) -> list[ImageId]:
    """Ids of the records of a store that are not what was written; [] when all is well.

    Raises StoreError where the database itself is damaged. Every record is read, in a process of its own: LMDB has
    no checksums, and some damaged pages end the process that follows them.
    """
    folder = store_folder(path)
    program = "import sys; from vltool.features.store import print_damaged; print_damaged(sys.argv[1])"
    search_path = os.pathsep.join(place for place in sys.path if place)
    child = subprocess.run(
        [sys.executable, "-c", program, str(folder)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": search_path, "PYTHONIOENCODING": "utf-8"},
        check=False,
    )
    if child.returncode < 0:
        raise StoreError(f"{folder}: data.mdb is damaged and cannot be read through; copy it again, or extract again")
    if child.returncode:
        raise RuntimeError(f"verifying {folder} failed:\n{child.stderr}")
    answer = json.loads(child.stdout)
    if "error" in answer:
        raise StoreError(answer["error"])
    return [ImageId(image_id) for image_id in answer["damaged"]]


def print_damaged(path: str) -> None:
    """What `verify` reads from its process: {"damaged": [ids]} or {"error": why the store cannot be read}."""
    try:
        with RegionStore.open(path) as store:
            answer: dict[str, Any] = {"damaged": store.damaged_ids()}
    except StoreError as error:
        answer = {"error": str(error)}
    sys.stdout.write(json.dumps(answer))
