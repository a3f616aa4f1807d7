"""detectron2 itself and the built-in runner give the same regions. Needs detectron2, which is optional."""

from __future__ import annotations

import importlib.util
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vltool.detectors import load_detector
from vltool.detectors.selection import RECIPES, Recipe, select
from vltool.errors import ConfigError
from vltool.structures import ImageId

HAS_DETECTRON2 = importlib.util.find_spec("detectron2") is not None


@pytest.mark.skipif(HAS_DETECTRON2, reason="detectron2 is installed")
def test_missing_detectron2_is_a_configuration_error_that_says_how_to_get_it(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("MODEL: {WEIGHTS: model.pth}")
    (tmp_path / "model.pth").touch()
    with pytest.raises(ConfigError, match=r"pip install --no-build-isolation \./detectron2"):
        load_detector("detectron2", config_file=tmp_path / "config.yaml")


def test_both_backends_agree(golden: Path) -> None:
    pytest.importorskip("detectron2")
    image = np.asarray(Image.open(golden / "image.png").convert("RGB"))
    files = {"config_file": golden / "config.yaml", "weights": golden / "model.pth", "device": "cpu"}
    ours = load_detector("builtin", precision="float32", **files)
    theirs = load_detector("detectron2", **files)
    assert ours.feature_dim == theirs.feature_dim
    for name in RECIPES:
        recipe = Recipe(name)
        if name == "given-boxes":
            boxes = np.array([[5, 5, 60, 60], [0, 0, image.shape[1], image.shape[0]]], dtype=np.float32)
            found, expected = ours.detect_at(image, boxes), theirs.detect_at(image, boxes)
        else:
            found, expected = ours.detect(image), theirs.detect(image)
        ours_kept, theirs_kept = (select(recipe, each, ImageId("file:a")) for each in (found, expected))
        np.testing.assert_allclose(ours_kept.boxes, theirs_kept.boxes, atol=0.01)
        np.testing.assert_array_equal(ours_kept.classes, theirs_kept.classes)
        largest = np.abs(theirs_kept.features).max()
        assert np.abs(ours_kept.features - theirs_kept.features).max() <= 1e-4 * largest


def test_detector_survives_pickling(golden: Path) -> None:
    pytest.importorskip("detectron2")
    detector = load_detector(
        "detectron2", config_file=golden / "config.yaml", weights=golden / "model.pth", device="cpu"
    )
    copy = pickle.loads(pickle.dumps(detector))
    assert copy.fingerprint == detector.fingerprint
