"""Where detectron2's reference numbers lie: beside the repository, or in the folders of VLTOOL_GOLDEN."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def golden_folders() -> list[Path]:
    """Folders with config.yaml, model.pth, image.png and expected.npz, one per case."""
    shared = Path(os.environ.get("VLTOOL_SHARED", Path(__file__).parents[3] / "shared"))
    roots = [shared / "golden", *map(Path, filter(None, os.environ.get("VLTOOL_GOLDEN", "").split(os.pathsep)))]
    cases: list[Path] = []
    for root in roots:
        for folder in (root, root / "detectron2"):
            cases += sorted(path.parent for path in folder.glob("*/expected.npz") if path.parent not in cases)
    return cases


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "golden" in metafunc.fixturenames:
        cases = golden_folders()
        reason = "no detectron2 reference numbers: name their folder in VLTOOL_GOLDEN"
        params = cases or [pytest.param(None, marks=pytest.mark.skip(reason=reason))]
        metafunc.parametrize("golden", params, ids=[case.name for case in cases] or ["none"], scope="session")
