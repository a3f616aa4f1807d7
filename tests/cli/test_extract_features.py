"""`vltool extract-features` itself gives detectron2's numbers, and tells what it did."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.detectors.conftest import golden_folders
from tests.test_demo import run_json
from vltool.features.store import RegionStore
from vltool.structures import RegionFeatures

GOLDEN = golden_folders() or [
    pytest.param(None, marks=pytest.mark.skip(reason="no detectron2 reference numbers beside the project"))
]


def extracted(golden: Path, store: Path, *options: object) -> RegionFeatures:
    """The regions of a reference picture, as the command stores them."""
    files = ("--config-file", golden / "config.yaml", "--weights", golden / "model.pth")
    exact = ("--backend", "builtin", "--dtype", "float32", "--precision", "float32")
    found = run_json("extract-features", golden / "image.png", "--out", store, *files, *exact, *options)
    assert (found["stored"], found["failed"], found["backend"]) == (1, 0, "builtin")
    with RegionStore.open(store) as opened:
        return opened.get("file:image")


def assert_features_agree(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda folder: getattr(folder, "name", "none"))
def test_detections_are_detectron2s_in_their_order(golden: Path, tmp_path: Path) -> None:
    expected = np.load(golden / "expected.npz")
    found = extracted(golden, tmp_path / "s", "--recipe", "detections")
    np.testing.assert_allclose(found.boxes, expected["detection_boxes"], atol=0.01)
    np.testing.assert_array_equal(found.classes, expected["detection_classes"])
    assert found.scores is not None
    np.testing.assert_allclose(found.scores, expected["detection_scores"], atol=1e-4)
    of_class = expected["class_probabilities"][:, expected["detection_classes"]]  # (proposals, detections)
    proposals = np.abs(of_class - expected["detection_scores"]).argmin(axis=0)
    assert_features_agree(found.features, expected["proposal_features"][proposals])


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda folder: getattr(folder, "name", "none"))
def test_given_boxes_have_detectron2s_features(golden: Path, tmp_path: Path) -> None:
    expected = np.load(golden / "expected.npz")
    (tmp_path / "boxes.json").write_text(json.dumps({"file:image": expected["given_boxes"].tolist()}))
    given = ("--recipe", "given-boxes", "--boxes", tmp_path / "boxes.json", "--box-format", "xyxy")
    found = extracted(golden, tmp_path / "s", *given)
    np.testing.assert_allclose(found.boxes, expected["given_boxes"], atol=1e-4)
    assert_features_agree(found.features, expected["given_features"])
