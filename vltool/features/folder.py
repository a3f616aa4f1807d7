"""The folder of a feature store: where it is, and who may write it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from vltool.errors import BusyError, StoreError
from vltool.remote_files import bring, is_url, with_slashes


def expanded(path: str | Path) -> Path:
    """The path with a leading ~ as the home folder; as it is where ~ belongs to the name."""
    path = Path(path)
    try:
        return path.expanduser()
    except RuntimeError:  # there is no user of that name
        return path


def store_folder(path: str | Path, *, create: bool = False, writable: bool = False) -> Path:
    """The folder of a store named by itself or by its data.mdb; of a URL, of the copy on this machine.

    Raises StoreError where there is none, and for a URL that is to be written to.
    """
    if is_url(path):
        url = with_slashes(path).rstrip("/").removesuffix("/data.mdb")
        if create or writable:
            raise StoreError(f"{url}: stores are written on a disk, and put elsewhere by extract-features --out alone")
        return bring(f"{url}/data.mdb").parent
    path = expanded(path)
    folder = path.parent if path.name == "data.mdb" else path
    if folder.is_file():
        raise StoreError(f"{folder}: a file; a feature store is a folder with data.mdb in it")
    if create:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{folder}: cannot make the store's folder: {error.strerror}") from error
    elif not (folder / "data.mdb").is_file():
        raise StoreError(f"{folder}: no feature store here. Make one: vltool extract-features IMAGES --out {folder}")
    return folder


def lock_for_writing(folder: Path) -> int:
    """Descriptor of the locked `write.lock`; the lock ends with the process at the latest."""
    return lock(
        folder / "write.lock",
        f"{folder}: another process is writing this store. Wait for it, or write shards to stores of their own",
    )


def lock(file: Path, busy: str) -> int:
    """Descriptor of a locked file, made if it is not there. Raises BusyError, saying `busy`, where it is locked."""
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StoreError(f"{file.parent}: cannot be written to: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise BusyError(busy) from error
    return descriptor


def unlock(descriptor: int) -> None:
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)
