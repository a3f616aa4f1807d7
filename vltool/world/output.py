"""How a world's files are written: each under a temporary name until it is whole, and none a second time by mistake."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from vltool.errors import DataError
from vltool.world.picture import draw_scene, save_jpeg
from vltool.world.scene import Scene


def draw_pictures(jobs: Sequence[tuple[Path, Scene]], progress: Callable[[int, int], None] | None) -> None:
    """Draws the pictures that are not there yet, two at a time; `progress(done, total)` after each."""
    for folder in dict.fromkeys(path.parent for path, _ in jobs):
        folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(max_workers=2) as threads:  # numpy and Pillow draw and encode outside the interpreter lock
        for done, _ in enumerate(threads.map(lambda job: _draw(*job), jobs), start=1):
            if progress is not None:
                progress(done, len(jobs))


def _draw(path: Path, scene: Scene) -> None:
    if not path.exists():
        save_jpeg(draw_scene(scene), path)


def read_marker(path: Path, made_with: Mapping[str, Any]) -> dict[str, Any] | None:
    """A marker file's content, or None if there is none; DataError if it is of anything but what is `made_with` that.

    made_with: {"generator": version, "arguments": {…}}.
    """
    if not path.exists():
        return None
    try:
        marker = json.loads(path.read_text(encoding="utf-8"))
        found = {"generator": marker["generator"], "arguments": marker["arguments"]}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: not a marker of a generated world ({error}). Delete it or choose another folder"
        ) from error
    if found != made_with:
        raise DataError(
            f"{path.parent}: holds a generated world made with {found}, and {dict(made_with)} was asked for. "
            "Choose another folder, or delete this one first"
        )
    return dict(marker)


def write_json(path: Path, content: Mapping[str, Any] | Sequence[Any]) -> None:
    """Writes JSON in one line."""
    write_text(path, json.dumps(content))


def write_json_lines(path: Path, records: Sequence[Any]) -> None:
    """Writes a JSON record a line."""
    write_text(path, "".join(f"{json.dumps(record)}\n" for record in records))


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text with \\n at line ends, and the folder where it is missing."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file under a temporary name and renames it when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    unfinished.write_bytes(content)
    unfinished.replace(path)
