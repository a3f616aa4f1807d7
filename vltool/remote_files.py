"""Files that lie elsewhere, named by a URL (`s3://bucket/features.lmdb`): the only import of fsspec.

What is read at random or again and again is brought to this machine once (`bring`) and found there by every process,
as long as its size, and its ETag or time of change, stay what they were. What is read once is not kept (`RemoteFile`).

    ~/.cache/vltool/files/3f0c…/features.lmdb/data.mdb      VLTOOL_CACHE=/elsewhere puts it elsewhere
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vltool.errors import ConfigError, DataError

_URL = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*):/")
_VERSIONS = (
    *("ETag", "etag", "md5Hash", "content_md5", "Content-MD5"),
    *("mtime", "LastModified", "last_modified", "Last-Modified", "updated", "modified", "created"),
)


def is_url(path: object) -> bool:
    """Whether a path names something by its protocol; also where `Path` has made one slash of two."""
    found = _URL.match(str(path))
    return found is not None and not os.path.lexists(f"{found[1]}:")


def with_slashes(url: object) -> str:
    """A URL as it was written, after `Path` has made one slash of two or three."""
    text = str(url)
    protocol, _, rest = text.partition(":/")
    if rest.startswith("/"):
        return text
    return f"{protocol}:///{rest}" if protocol in ("file", "local") else f"{protocol}://{rest}"


@dataclass(frozen=True)
class RemoteFile:
    """A file that is read where it lies. It has the names that a `Path` has."""

    url: str

    def __str__(self) -> str:
        return self.url

    @property
    def _path(self) -> str:
        """Without what signs an address of the web (`?X-Amz-Signature=…`), which is no part of a name."""
        return re.split(r"[?#]", self.url)[0] if self.url.startswith(("http://", "https://")) else self.url

    @property
    def name(self) -> str:
        return self._path.rpartition("/")[2]

    @property
    def stem(self) -> str:
        return Path(self.name).stem

    @property
    def folder_name(self) -> str:
        """The name of the folder that it is in."""
        return self._path.rpartition("/")[0].rpartition("/")[2]

    def read_bytes(self) -> bytes:
        """The whole content. Raises DataError where it cannot be read, or is not as long as it should be."""
        with _telling(self.url):
            system, path = _open_system(self.url)
            content = bytes(system.cat_file(path))
            size = system.size(path)
        _check_size(self.url, len(content), size)
        return content


def list_files(url: str) -> list[RemoteFile]:
    """The files below a folder, sorted; of a file, the file. Raises DataError if nothing is there."""
    with _telling(url):
        system, path = _open_system(url)
        return [RemoteFile(str(system.unstrip_protocol(found))) for found in _find(system, path)]


def exists(path: str | Path) -> bool:
    """Whether there is a file or folder, here or at a URL."""
    if not is_url(path):
        return Path(path).exists()
    url = with_slashes(path)
    with _telling(url):
        system, path = _open_system(url)
        return bool(system.exists(path))


def size_of(url: str) -> int:
    """Bytes of a file."""
    with _telling(url):
        system, path = _open_system(url)
        return int(_find(system, path)[path]["size"])


def version_of(url: str) -> str:
    """A digest that changes when the file, or a file in the folder, does. Raises DataError where nothing tells."""
    with _telling(url):
        system, path = _open_system(url)
        return _version_of(url, path, _find(system, path))


def here(path: str | Path) -> Path:
    """A path as it is; of a URL, the copy that is brought. Raises as `bring` does."""
    return bring(with_slashes(path)) if is_url(path) else Path(path)


def bring(url: str) -> Path:
    """A copy of a file or folder on this machine, whole, and shared by all its processes. It is not to be changed.

    Of `…/annotations.zip/Sentences` the archive is brought. Raises DataError where it cannot be, or comes short.
    """
    archive, inner = _split_archive(url)
    with _telling(archive):
        system, path = _open_system(archive)
        found = _find(system, path)
        place = cache_folder() / "files" / _version_of(archive, path, found) / RemoteFile(archive.rstrip("/")).name
        with _alone(place.parent):
            if not place.exists():
                draft = place.with_name(".draft")
                shutil.rmtree(draft, ignore_errors=True)
                for name, info in found.items():
                    _fetch(system, name, _place_in(draft, name.removeprefix(path).lstrip("/"), archive), info)
                os.replace(draft, place)
    return place / inner if inner else place


def _place_in(folder: Path, name: str, url: str) -> Path:
    """Where a file goes in the copy of its folder. Raises DataError for a name that leads out of it.

    In a store of objects any text is a name, `features.lmdb/../../.bashrc` too; whoever fills it would write here.
    """
    if ".." in Path(name).parts:
        raise DataError(f"{url}: the name {name!r} in it leads out of the folder. Rename or remove that object")
    return folder / name if name else folder


def copy_here(url: str, file: Path) -> None:
    """Copy the file at a URL to a place of one's own. Raises DataError where it cannot be, or comes short."""
    with _telling(url):
        system, path = _open_system(url)
        _fetch(system, path, file, _find(system, path)[path])


def put(file: Path, url: str) -> None:
    """Put a copy of a file at `url`, in one step where the file system can. Raises DataError where it comes short."""
    with _telling(url):
        system, path = _open_system(url)
        system.makedirs(system._parent(path), exist_ok=True)
        draft = f"{path}.{os.getpid()}.writing"
        system.put_file(str(file), draft)
        system.invalidate_cache()
        _check_size(url, int(system.size(draft)), file.stat().st_size)
        system.mv(draft, path)
        system.invalidate_cache()


def remove(url: str) -> None:
    """Remove a file, or a folder with all that is in it."""
    with _telling(url):
        system, path = _open_system(url)
        system.rm(path, recursive=True)
        system.invalidate_cache()


def cache_folder() -> Path:
    """Where copies lie; whatever is in it may be removed while nothing runs."""
    given = os.environ.get("VLTOOL_CACHE")
    base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return Path(given).expanduser() if given else base / "vltool"


def in_this_process_alone(url: str) -> bool:
    """Whether no other process sees what is there, as of `memory://`."""
    return url.startswith("memory:")


def _open_system(url: str) -> tuple[Any, str]:
    """(file system, path in it). Raises ConfigError with what to install where the protocol cannot be spoken."""
    import fsspec

    protocol = url.partition(":")[0]
    if "::" in url:
        raise ConfigError(f"{url}: URLs within URLs (::) are not read. Unpack it, or name the file itself")
    try:
        system, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise ConfigError(f"{url}: the protocol {protocol} needs a package: {error}") from error
    except ValueError as error:
        known = ", ".join(sorted(fsspec.available_protocols()))
        raise ConfigError(f"{url}: {error}. Known protocols: {known}") from error
    return system, str(path)


@contextmanager
def _telling(url: str) -> Iterator[None]:
    """Errors of any file system as a DataError that names the URL."""
    try:
        yield
    except (ConfigError, DataError):
        raise
    except FileNotFoundError as error:
        raise DataError(f"{url}: no such file or folder") from error
    except Exception as error:  # each of some thirty file systems raises errors of its own
        raise DataError(
            f"{url}: cannot be reached: {error or type(error).__name__}. Check the address and the credentials"
        ) from error


def _find(system: Any, path: str) -> dict[str, dict[str, Any]]:
    """What is known of each file below a path, sorted by name."""
    system.invalidate_cache()  # what is there now, not at the last look
    info = system.info(path)
    if info["type"] == "file":
        return {path: info}
    found = {str(name): known for name, known in system.find(path, detail=True).items()}
    if not found:
        raise FileNotFoundError(path)
    return dict(sorted(found.items()))


def _version_of(url: str, path: str, found: dict[str, dict[str, Any]]) -> str:
    facts = []
    for name, info in found.items():
        version = next((str(info[key]) for key in _VERSIONS if info.get(key)), "")
        if not version:
            raise DataError(
                f"{url}: neither an ETag nor a time of change is known of it, so that nobody could tell an old copy "
                "from a new one. Copy it to a disk, and name that"
            )
        facts.append([name.removeprefix(path), info["size"], version])
    return hashlib.sha256(json.dumps([url, facts]).encode()).hexdigest()[:32]


def _fetch(system: Any, name: str, target: Path, info: dict[str, Any]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    system.get_file(name, str(target))
    _check_size(system.unstrip_protocol(name), target.stat().st_size, info["size"])


def _check_size(url: str, found: int, expected: int | None) -> None:
    if expected is not None and found != expected:
        raise DataError(f"{url}: {found:,} bytes of {expected:,} came over. Run the command again")


def _split_archive(url: str) -> tuple[str, str]:
    """(archive, member): of `s3://b/annotations.zip/Sentences`; member is "" elsewhere."""
    match = re.match(r"(.*?\.zip)/(.+)", url, flags=re.IGNORECASE)
    return (match[1], match[2]) if match else (url, "")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold a folder of the cache: of several processes that want the same file, the first one brings it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("w")
    except OSError as error:
        raise ConfigError(
            f"{folder}: copies of remote files cannot be kept there: {error.strerror}. Name a folder that can be "
            "written to: VLTOOL_CACHE=/elsewhere"
        ) from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
