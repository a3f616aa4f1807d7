"""A store that is put at a URL: written on this machine, where LMDB needs a disk, and put there when it is whole.

~/.cache/vltool/stores/8a41…/features.lmdb/       written here; kept until it has been put
~/.cache/vltool/stores/8a41…/base.json            which version at the URL it goes on from
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vltool.errors import StoreError
from vltool.features.failures import FAILURES, failures_path
from vltool.json_files import read_json, write_json
from vltool.remote_files import (
    RemoteFile,
    cache_folder,
    copy_here,
    exists,
    is_url,
    put,
    size_of,
    version_of,
    with_slashes,
)


@contextmanager
def local_place(path: str | Path) -> Iterator[str | Path]:
    """Where to write a store: in its folder, or for a URL in one of this machine that is put there at the end.

    A store that is at the URL is gone on with. Where the block is left by an error, what was written is kept for the
    next time. Raises StoreError if somebody else has put another one there meanwhile.
    """
    if not is_url(path):
        yield path
        return
    url = with_slashes(path).rstrip("/")
    file = f"{url}/data.mdb"
    home = cache_folder() / "stores" / hashlib.sha256(url.encode()).hexdigest()[:32]
    place = home / RemoteFile(url).name
    base = _base_of(place, file)
    yield place
    data = place / "data.mdb"
    if _version(file) != base["version"]:
        raise StoreError(
            f"{url}: has been changed by somebody else meanwhile. What was made now is in {place}: "
            f"put it elsewhere, or join the two with vltool features merge, and remove {home}"
        )
    write_json(home / "base.json", {**base, "putting": data.stat().st_size})
    put(data, file)
    if failures_path(place).exists():
        put(failures_path(place), f"{url}{FAILURES}")
    shutil.rmtree(home)


def _base_of(place: Path, file: str) -> dict[str, Any]:
    """What the store here goes on from; where there is none, it begins as a copy of what is at the URL, if anything."""
    path = place.parent / "base.json"
    if path.exists():
        base: dict[str, Any] = read_json(path, next_step=f"Remove {place.parent}, and run the command again")
        if "putting" in base and exists(file) and size_of(file) == base["putting"]:
            base = {"version": _version(file)}  # a run was killed when it had just put it there
            write_json(path, base)
        return base
    shutil.rmtree(place.parent, ignore_errors=True)
    place.mkdir(parents=True)
    base = {"version": _version(file)}
    if base["version"]:
        copy_here(file, place / "data.mdb")
    write_json(path, base)
    return base


def _version(file: str) -> str:
    return version_of(file) if exists(file) else ""
