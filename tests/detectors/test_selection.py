"""Which regions a recipe keeps, on tables worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vltool.detectors.detector import Detections
from vltool.detectors.selection import Recipe, final_detections, keep_by_score, select, surviving_scores
from vltool.errors import ConfigError
from vltool.structures import ImageId

# Regions 0 and 1 overlap with IoU 0.8 (100 x 80 of 100 x 100), 2 is apart, 3 overlaps 0 with IoU 1/3.
BOXES = np.array([[0, 0, 100, 100], [0, 0, 100, 80], [200, 0, 300, 100], [50, 0, 150, 100]], dtype=np.float32)
# Columns: cat, dog, background.
PROBABILITIES = np.array(
    [
        [0.7, 0.2, 0.1],
        [0.6, 0.3, 0.1],  # falls as a cat to region 0, stays as a dog: score 0.3
        [0.1, 0.15, 0.75],
        [0.25, 0.05, 0.7],  # falls as a cat to region 0 (1/3 > 0.3), stays as a dog (4/14 < 0.3 with 1): score 0.05
    ],
    dtype=np.float32,
)


def detections(**changes: np.ndarray) -> Detections:
    values = {
        "proposal_boxes": BOXES,
        "features": np.arange(8, dtype=np.float32).reshape(4, 2),
        "class_probabilities": PROBABILITIES,
        "regressed_boxes": np.stack((BOXES + 1, BOXES + 2), axis=1),
        "final_rows": np.array([1, 0]),
        "final_classes": np.array([1, 0]),
        "height": 100,
        "width": 300,
        **changes,
    }
    return Detections(**values)  # type: ignore[arg-type]


def scores_of(*, nms_threshold: float = 0.3, score_threshold: float = 0.2, num_wanted: int = 4) -> tuple:
    return surviving_scores(
        BOXES, PROBABILITIES, nms_threshold=nms_threshold, score_threshold=score_threshold, num_wanted=num_wanted
    )


def test_score_is_the_best_probability_among_classes_where_the_region_survives() -> None:
    scores, classes = scores_of()
    np.testing.assert_allclose(scores, [0.7, 0.3, 0.15, 0.05])
    np.testing.assert_array_equal(classes, [0, 1, 1, 1])


def test_suppression_needs_more_overlap_than_the_threshold() -> None:
    scores, _ = scores_of(nms_threshold=0.34)
    np.testing.assert_allclose(scores, [0.7, 0.3, 0.15, 0.25])
    scores, _ = scores_of(nms_threshold=0.81)
    np.testing.assert_allclose(scores, [0.7, 0.6, 0.15, 0.25])


def test_a_suppressed_region_suppresses_nothing() -> None:
    chain = np.array([[0, 0, 100, 10], [40, 0, 140, 10], [80, 0, 180, 10]], dtype=np.float32)  # IoU 60/140 and 20/180
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]], dtype=np.float32)
    scores, _ = surviving_scores(chain, probabilities, nms_threshold=0.3, score_threshold=0.2, num_wanted=0)
    np.testing.assert_allclose(scores, [0.9, 0.0, 0.7])


def slow_scores(boxes: np.ndarray, probabilities: np.ndarray, threshold: float) -> np.ndarray:
    """The definition, one class and one pair of boxes at a time."""
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    scores = np.zeros(len(boxes))
    for column in probabilities[:, :-1].T:
        survivors: list[int] = []
        for row in np.argsort(-column, kind="stable"):
            low = np.maximum(boxes[row, :2], boxes[survivors, :2])
            high = np.minimum(boxes[row, 2:], boxes[survivors, 2:])
            common = np.prod(np.clip(high - low, 0, None), axis=1)
            if not (common / (areas[row] + areas[survivors] - common) > threshold).any():
                survivors.append(row)
                scores[row] = max(scores[row], column[row])
    return scores


def test_scores_equal_the_class_by_class_definition_on_random_regions() -> None:
    random = np.random.default_rng(3)
    for num_classes in (1, 7, 60):
        corners = random.uniform(0, 200, (80, 2))
        boxes = np.concatenate((corners, corners + random.uniform(5, 120, (80, 2))), axis=1).astype(np.float32)
        logits = random.normal(0, 2, (80, num_classes + 1))
        probabilities = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).astype(np.float32)
        expected = slow_scores(boxes.astype(np.float64), probabilities, 0.3)
        found, _ = surviving_scores(boxes, probabilities, nms_threshold=0.3, score_threshold=0.0, num_wanted=0)
        np.testing.assert_allclose(found, expected)
        for num_wanted in (0, 10, 50):
            found, _ = surviving_scores(
                boxes, probabilities, nms_threshold=0.3, score_threshold=0.2, num_wanted=num_wanted
            )
            sure = expected >= 0.2
            np.testing.assert_allclose(found[sure], expected[sure])
            best = np.argsort(-expected, kind="stable")[:num_wanted]
            np.testing.assert_array_equal(np.argsort(-found, kind="stable")[:num_wanted], best)


def test_kept_are_the_good_ones_but_at_least_min_and_at_most_max() -> None:
    scores = np.array([0.1, 0.9, 0.2, 0.5, 0.5], dtype=np.float32)
    kept = {"score_threshold": 0.2, "max_boxes": 10}
    np.testing.assert_array_equal(keep_by_score(scores, min_boxes=0, **kept), [1, 3, 4, 2])
    np.testing.assert_array_equal(keep_by_score(scores, min_boxes=5, **kept), [1, 3, 4, 2, 0])
    np.testing.assert_array_equal(keep_by_score(scores, min_boxes=9, **kept), [1, 3, 4, 2, 0])
    np.testing.assert_array_equal(keep_by_score(scores, score_threshold=0.2, min_boxes=1, max_boxes=2), [1, 3])


def test_bottom_up_keeps_proposal_boxes_best_first() -> None:
    found = select(Recipe(min_boxes=1), detections(), ImageId("file:a"))
    np.testing.assert_array_equal(found.boxes, BOXES[[0, 1]])
    np.testing.assert_array_equal(found.features, [[0, 1], [2, 3]])
    np.testing.assert_allclose(found.scores, [0.7, 0.3])
    np.testing.assert_array_equal(found.classes, [0, 1])
    assert found.attributes is None and (found.height, found.width) == (100, 300)


def test_bottom_up_fills_up_to_the_minimum_and_36_keeps_all_it_can() -> None:
    assert select(Recipe(min_boxes=3), detections(), ImageId("a")).boxes.tolist() == BOXES[[0, 1, 2]].tolist()
    assert select(Recipe("bottom-up-36"), detections(), ImageId("a")).boxes.tolist() == BOXES.tolist()


def test_detections_keep_regressed_boxes_with_the_features_of_their_proposals() -> None:
    found = select(Recipe("detections"), detections(), ImageId("a"))
    np.testing.assert_array_equal(found.boxes, [BOXES[1] + 2, BOXES[0] + 1])
    np.testing.assert_array_equal(found.features, [[2, 3], [0, 1]])
    np.testing.assert_allclose(found.scores, [0.3, 0.7])


def test_given_boxes_stay_in_order_and_attributes_are_the_most_probable() -> None:
    attributes = np.array([[0.1, 0.9], [0.8, 0.2], [0.5, 0.5], [0.3, 0.7]], dtype=np.float32)
    found = select(Recipe("given-boxes"), detections(attribute_probabilities=attributes), ImageId("a"))
    np.testing.assert_array_equal(found.boxes, BOXES)
    np.testing.assert_array_equal(found.classes, [0, 0, 1, 0])
    np.testing.assert_array_equal(found.attributes, [1, 0, 0, 1])
    np.testing.assert_allclose(found.attribute_scores, [0.9, 0.8, 0.5, 0.7])


def test_no_region_gives_an_empty_record() -> None:
    empty = detections(
        proposal_boxes=np.zeros((0, 4), np.float32),
        features=np.zeros((0, 2), np.float32),
        class_probabilities=np.zeros((0, 3), np.float32),
        regressed_boxes=np.zeros((0, 2, 4), np.float32),
        attribute_probabilities=np.zeros((0, 5), np.float32),
        final_rows=np.zeros(0, np.int64),
        final_classes=np.zeros(0, np.int64),
    )
    for name in ("bottom-up", "bottom-up-36", "detections", "given-boxes"):
        found = select(Recipe(name), empty, ImageId("a"))
        assert found.features.shape == (0, 2) and found.boxes.shape == (0, 4)


def test_final_detections_threshold_suppress_and_cut() -> None:
    boxes = torch.from_numpy(np.stack((BOXES, BOXES), axis=1))
    numbers = {"score_threshold": 0.1, "nms_threshold": 0.5, "max_detections": 100}
    # Cats: 0 (0.7), 3 (0.25); 1 falls to 0; 2 is at 0.1, not above. Dogs: 1 (0.3), 2 (0.15); 0 falls to 1.
    rows, classes = final_detections(boxes, torch.from_numpy(PROBABILITIES), **numbers)
    assert list(zip(rows.tolist(), classes.tolist(), strict=True)) == [(0, 0), (1, 1), (3, 0), (2, 1)]
    rows, _ = final_detections(boxes, torch.from_numpy(PROBABILITIES), **{**numbers, "max_detections": 2})
    assert rows.tolist() == [0, 1]
    rows, _ = final_detections(boxes[:, :1], torch.from_numpy(PROBABILITIES), **{**numbers, "max_detections": -1})
    assert rows.tolist() == [0, 1, 3, 2]


def test_final_detections_drop_empty_boxes_after_the_cut() -> None:
    boxes = torch.from_numpy(BOXES).clone()[:, None]
    boxes[0, 0, 2] = 0  # region 0 lies outside the picture and was clipped to nothing
    rows, _ = final_detections(
        boxes, torch.from_numpy(PROBABILITIES), score_threshold=0.1, nms_threshold=0.5, max_detections=2
    )
    assert rows.tolist() == [1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "top-36"}, "choose bottom-up, bottom-up-36, detections, given-boxes"),
        ({"min_boxes": 40, "max_boxes": 36}, "--min-boxes 40 --max-boxes 36"),
        ({"nms_threshold": 1.5}, "--nms-threshold 1.5"),
    ],
)
def test_impossible_recipes_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Recipe(**changes)
