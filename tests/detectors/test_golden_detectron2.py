"""The built-in runner gives detectron2's numbers: features to 1e-4 (relative), boxes to 0.01 pixels."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

from vltool.detectors import load_detector
from vltool.detectors.detector import Detections
from vltool.detectors.faster_rcnn.detector import FasterRCNNDetector
from vltool.detectors.faster_rcnn.model import Regions
from vltool.detectors.selection import Recipe, select
from vltool.structures import ImageId


class Case(NamedTuple):
    expected: dict[str, np.ndarray]
    image: np.ndarray
    detector: FasterRCNNDetector
    pixels: np.ndarray
    maps: dict[str, torch.Tensor]
    regions: Regions  # in the resized frame
    detections: Detections


@pytest.fixture(scope="session")
def case(golden: Path) -> Case:
    with np.load(golden / "expected.npz") as arrays:
        expected = dict(arrays)
    image = np.asarray(Image.open(golden / "image.png").convert("RGB"))
    detector = load_detector(
        "builtin", config_file=golden / "config.yaml", weights=golden / "model.pth", precision="float32", device="cpu"
    )
    assert isinstance(detector, FasterRCNNDetector)
    pixels, _ = detector.pixels(image)
    with torch.inference_mode():
        maps = detector.network.feature_maps(pixels)
        regions = detector.network.propose(maps, height=pixels.shape[0], width=pixels.shape[1])
    return Case(expected, image, detector, pixels, maps, regions, detector.detect(image))


def assert_features_agree(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()


def test_resized_picture_is_the_same_to_the_bit(case: Case) -> None:
    np.testing.assert_array_equal(case.pixels, case.expected["resized_bgr"])


def test_backbone_agrees(case: Case) -> None:
    last = sorted(case.maps)[-1]
    assert_features_agree(case.maps[last].numpy(), case.expected["backbone_last"])


def test_proposals_agree_in_order(case: Case) -> None:
    np.testing.assert_allclose(case.regions.boxes.numpy(), case.expected["proposal_boxes"], atol=0.01)
    assert case.regions.logits is not None
    np.testing.assert_allclose(case.regions.logits.numpy(), case.expected["proposal_logits"], atol=1e-3)


def test_features_and_predictions_of_proposals_agree(case: Case) -> None:
    assert_features_agree(case.detections.features, case.expected["proposal_features"])
    probabilities = case.detections.class_probabilities
    np.testing.assert_allclose(probabilities, case.expected["class_probabilities"], atol=1e-4)
    regressed = case.regions.regressed_boxes.flatten(1).numpy()
    np.testing.assert_allclose(regressed, case.expected["regressed_boxes"], atol=0.01)


def test_final_detections_agree_in_order(case: Case) -> None:
    found = select(Recipe("detections"), case.detections, ImageId("file:image"))
    np.testing.assert_allclose(found.boxes, case.expected["detection_boxes"], atol=0.01)
    np.testing.assert_array_equal(found.classes, case.expected["detection_classes"])
    np.testing.assert_allclose(found.scores, case.expected["detection_scores"], atol=1e-4)


def test_features_of_given_boxes_agree(case: Case) -> None:
    found = case.detector.detect_at(case.image, case.expected["given_boxes"])
    assert_features_agree(found.features, case.expected["given_features"])
    np.testing.assert_array_equal(found.proposal_boxes, case.expected["given_boxes"])


def test_folding_norms_keeps_the_features(golden: Path, case: Case) -> None:
    detector = load_detector(
        "builtin",
        config_file=golden / "config.yaml",
        weights=golden / "model.pth",
        precision="float32",
        device="cpu",
        fold=True,
    )
    assert_features_agree(
        detector.detect_at(case.image, case.expected["given_boxes"]).features, case.expected["given_features"]
    )
    assert detector.fingerprint == case.detector.fingerprint


def test_bfloat16_stays_near_and_returns_float32(golden: Path, case: Case) -> None:
    detector = load_detector(
        "builtin", config_file=golden / "config.yaml", weights=golden / "model.pth", precision="bfloat16", device="cpu"
    )
    found = detector.detect_at(case.image, case.expected["given_boxes"])
    assert found.features.dtype == found.class_probabilities.dtype == np.float32
    # Random weights amplify rounding far more than trained ones; what matters here is that nothing else changed.
    correlation = np.corrcoef(found.features.ravel(), case.expected["given_features"].ravel())[0, 1]
    assert correlation > 0.9
