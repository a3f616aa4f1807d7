"""A small world with all twelve datasets, its scenes, and what its files hold."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.world.twelve import reading
from vltool.world.files import write_world
from vltool.world.scene import Scene, generate_scene

ARGUMENTS: dict[str, Any] = {"num_train": 60, "num_val": 24, "num_test": 24, "seed": 4, "questions_per_image": 2}


@pytest.fixture(scope="session")
def twelve_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Written without its pictures: they take the time, and only one test looks at them."""
    out = tmp_path_factory.mktemp("twelve")
    with pytest.MonkeyPatch.context() as patch:
        for module in ("vltool.world.files", "vltool.world.twelve.files"):
            patch.setattr(f"{module}.draw_pictures", lambda jobs, progress: None)
        write_world(out, twelve=True, **ARGUMENTS)
    return out


@pytest.fixture(scope="session")
def content(twelve_world: Path) -> Callable[[str], Any]:
    """What a JSON file of the world holds."""
    return cache(lambda name: json.loads((twelve_world / name).read_text(encoding="utf-8")))


@pytest.fixture(scope="session")
def lines(twelve_world: Path) -> Callable[[str], list[Any]]:
    """What the lines of a JSON-lines file of the world hold, packed or not."""
    return cache(lambda name: reading.json_lines(twelve_world / name))


@pytest.fixture(scope="session")
def scene_of() -> Callable[[int], Scene]:
    """The scene of a picture number."""
    return cache(lambda number: generate_scene(ARGUMENTS["seed"], number))
