"""Empty virtual environments that see what this one has installed, vltool excepted: nothing is fetched, nothing copied."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import vltool

ROOT = Path(vltool.__file__).parents[1]
APART = ("vltool", "_vltool", "__editable__", "pip", "setuptools")


def others(folder: Path) -> Path:
    """A folder of links to everything that is installed here except vltool and pip, to be put on PYTHONPATH."""
    folder.mkdir(parents=True, exist_ok=True)
    for entry in (entry for place in sys.path if "site-packages" in place for entry in Path(place).iterdir()):
        name = entry.name.lower()
        if not name.startswith(APART) and name != "__pycache__" and not (folder / entry.name).exists():
            (folder / entry.name).symlink_to(entry)
    return folder


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
