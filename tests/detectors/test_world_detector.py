"""The detector that comes with the package gives detectron2's numbers on pictures of the held-out world."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vltool.detectors import load_detector
from vltool.detectors.faster_rcnn.detector import FasterRCNNDetector
from vltool.detectors.selection import Recipe, select
from vltool.errors import DataError
from vltool.structures import ImageId

GOLDEN = Path(__file__).with_name("golden_world_detector.npz")


@pytest.fixture(scope="module")
def detector() -> FasterRCNNDetector:
    detector = load_detector("builtin", device="cpu")
    assert isinstance(detector, FasterRCNNDetector)
    return detector


@pytest.fixture(scope="module", params=["1", "2", "3"])
def expected(request: pytest.FixtureRequest) -> dict[str, np.ndarray]:
    with np.load(GOLDEN) as arrays:
        return {name.split("/")[1]: arrays[name] for name in arrays if name.startswith(f"{request.param}/")}


def picture(expected: dict[str, np.ndarray]) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(expected["picture_jpeg"].tobytes())).convert("RGB"))


def test_proposals_features_and_attributes_agree(detector: FasterRCNNDetector, expected: dict[str, np.ndarray]) -> None:
    image = picture(expected)
    pixels, _ = detector.pixels(image)
    assert pixels.shape[:2] == tuple(expected["resized_size"])
    with torch.inference_mode():
        maps = detector.network.feature_maps(pixels)
        regions = detector.network.propose(maps, height=pixels.shape[0], width=pixels.shape[1])
    np.testing.assert_allclose(regions.boxes.numpy(), expected["proposal_boxes"], atol=0.01)
    found = detector.detect(image)
    largest = np.abs(expected["proposal_features"]).max()
    assert np.abs(found.features - expected["proposal_features"]).max() <= 1e-4 * largest
    np.testing.assert_allclose(found.class_probabilities, expected["class_probabilities"], atol=1e-4)
    assert found.attribute_probabilities is not None
    np.testing.assert_allclose(found.attribute_probabilities, expected["attribute_probabilities"], atol=1e-4)


def test_detections_agree(detector: FasterRCNNDetector, expected: dict[str, np.ndarray]) -> None:
    found = select(Recipe("detections"), detector.detect(picture(expected)), ImageId("world:1"))
    np.testing.assert_allclose(found.boxes, expected["detection_boxes"], atol=0.01)
    np.testing.assert_array_equal(found.classes, expected["detection_classes"])
    np.testing.assert_allclose(found.scores, expected["detection_scores"], atol=1e-4)


def test_it_knows_its_names_and_is_sure_of_what_it_sees(
    detector: FasterRCNNDetector, expected: dict[str, np.ndarray]
) -> None:
    assert "circle" in detector.class_names and "red" in detector.attribute_names
    kept = select(Recipe(min_boxes=1), detector.detect(picture(expected)), ImageId("world:1"))
    assert kept.attributes is not None and kept.scores is not None
    assert kept.features.shape[1] == detector.feature_dim
    assert kept.scores[0] > 0.9 and (np.diff(kept.scores) <= 0).all()


def test_copy_in_another_process_is_the_same_detector(
    detector: FasterRCNNDetector, expected: dict[str, np.ndarray]
) -> None:
    copy = pickle.loads(pickle.dumps(detector))
    assert (copy.fingerprint, copy.precision) == (detector.fingerprint, detector.precision)
    image = picture(expected)
    np.testing.assert_array_equal(copy.detect(image).features, detector.detect(image).features)


def test_bfloat16_and_folding_change_little(detector: FasterRCNNDetector, expected: dict[str, np.ndarray]) -> None:
    image, boxes = picture(expected), expected["detection_boxes"]
    exact = detector.detect_at(image, boxes).features
    for options, tolerance in (({"precision": "bfloat16"}, 0.05), ({"precision": "float32", "fold": False}, 1e-4)):
        found = load_detector("builtin", device="cpu", **options).detect_at(image, boxes).features
        assert 0 < np.abs(found - exact).max() <= tolerance * np.abs(exact).max()


@pytest.mark.parametrize("size", [(1, 1), (3, 900), (900, 3), (2000, 30)])
def test_pictures_of_extreme_shape_are_taken(detector: FasterRCNNDetector, size: tuple[int, int]) -> None:
    found = detector.detect(np.full((*size, 3), 100, np.uint8))
    kept = select(Recipe(), found, ImageId("file:a"))
    assert kept.features.shape == (len(kept.boxes), detector.feature_dim)
    assert (kept.boxes >= 0).all() and (kept.boxes[:, 2] <= size[1]).all() and (kept.boxes[:, 3] <= size[0]).all()


def test_what_is_no_picture_or_no_box_is_refused(detector: FasterRCNNDetector) -> None:
    with pytest.raises(DataError, match="uint8"):
        detector.detect(np.zeros((5, 5, 3), np.float32))
    image = np.zeros((50, 80, 3), np.uint8)
    for box in ([10, 10, 5, 20], [0, 0, 200, 20], [-5, 0, 10, 10]):
        with pytest.raises(DataError, match=r"does not lie in a picture of 80 x 50.*--box-format"):
            detector.detect_at(image, np.array([box], dtype=np.float32))
    assert detector.detect_at(image, np.zeros((0, 4))).features.shape == (0, detector.feature_dim)
