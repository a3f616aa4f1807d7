"""Empty virtual environments that see what is installed here, except vltool: nothing is fetched, nothing copied."""

from __future__ import annotations

import os
import subprocess
import sys
from email.parser import BytesParser
from importlib.metadata import distribution
from pathlib import Path
from zipfile import ZipFile

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import vltool

ROOT = Path(vltool.__file__).parents[1]
APART = ("vltool", "_editable_impl_vltool", "pip")


def others(folder: Path) -> Path:
    """A folder of links to everything that is installed here except vltool and pip, to be put on PYTHONPATH."""
    folder.mkdir(parents=True, exist_ok=True)
    for entry in (entry for place in sys.path if "site-packages" in place for entry in Path(place).iterdir()):
        if entry.name != "__pycache__":
            _link(entry, folder)
    return folder


def requirements(folder: Path, wheel: Path, *extras: str) -> Path:
    """The same of those packages alone that `pip install WHEEL[extras]` brings, theirs included.

    What vltool uses without requiring it is not there, so that its absence shows.
    """
    folder.mkdir(parents=True, exist_ok=True)
    waiting = [one for extra in ("", *extras) for one in _wanted(_requires_of(wheel), extra)]
    seen: set[tuple[str, str]] = set()
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        installed = distribution(name)
        waiting += _wanted(installed.requires or [], extra)
        place = Path(str(installed.locate_file("")))
        for top in {file.parts[0] for file in installed.files or [] if file.parts[0] not in ("..", "__pycache__")}:
            _link(place / top, folder)
    return folder


def _requires_of(wheel: Path) -> list[str]:
    with ZipFile(wheel) as archive:
        metadata = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return BytesParser().parsebytes(archive.read(metadata)).get_all("Requires-Dist", [])


def _wanted(lines: list[str], extra: str) -> list[tuple[str, str]]:
    """(package, extra) of the requirements that hold here with `extra`."""
    found = [one for one in map(Requirement, lines) if one.marker is None or one.marker.evaluate({"extra": extra})]
    return [(canonicalize_name(one.name), further) for one in found for further in ("", *one.extras)]


def _link(entry: Path, folder: Path) -> None:
    if not entry.name.lower().startswith(APART) and entry.exists() and not (folder / entry.name).exists():
        (folder / entry.name).symlink_to(entry)


def environment(packages: Path | None) -> dict[str, str]:
    """Variables for a process that sees `packages` and nothing of this repository, and whose pip asks no index."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV", "PIP_"))}
    apart = {"PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_CONFIG_FILE": os.devnull}
    return kept | apart | ({"PYTHONPATH": str(packages)} if packages else {})


def run(*command: str | Path, where: Path, env: dict[str, str], check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder; where it fails, what it said is in the error."""
    done = subprocess.run([str(word) for word in command], cwd=where, env=env, text=True, capture_output=True)
    if check and done.returncode:
        raise AssertionError(f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done
