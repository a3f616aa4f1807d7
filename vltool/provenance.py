"""What a result was made with: versions of the code it ran on, and the bytes it read."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import subprocess
from collections.abc import Iterable
from pathlib import Path

PACKAGES = ("vltool", "torch", "torchvision", "numpy", "spacy", "lmdb", "pandas")


def versions() -> dict[str, str]:
    """Version of Python and of every package that a number may depend on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed as a package"
    return found


def git_commit() -> str:
    """Commit of the checkout that vltool runs from, with a + if tracked files differ; empty outside a checkout."""
    folder = Path(__file__).parents[1]
    if not (folder / ".git").exists():
        return ""
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        return commit[:12] + ("+" if _git(folder, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def file_hashes(paths: Iterable[Path]) -> dict[str, str]:
    """SHA-256 of each file; of a folder, of the names and sizes of what lies in it."""
    found = {}
    for path in sorted(set(paths)):
        if path.is_dir():
            listing = "\n".join(f"{item.name} {item.stat().st_size}" for item in sorted(path.iterdir()))
            found[str(path)] = "listing:" + hashlib.sha256(listing.encode()).hexdigest()
        elif path.is_file():
            with path.open("rb") as file:
                found[str(path)] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
