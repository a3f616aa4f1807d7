"""Grounding: boxes and rankings worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vltool.errors import DataError
from vltool.metrics.localization import (
    PhraseRanking,
    box_iou,
    correct_regions,
    grounding_items,
    grounding_scores,
    grounding_table,
)

LEFT, RIGHT, AROUND, FAR = [0, 0, 10, 10], [20, 0, 30, 10], [0, 0, 30, 10], [50, 50, 60, 60]


def test_iou_measures_sides_without_one_more() -> None:
    found = box_iou(
        np.array([[0.0, 0, 10, 10], [0, 0, 0, 0]]), np.array([[5.0, 0, 15, 10], [0, 0, 10, 5], [0, 0, 0, 0]])
    )
    np.testing.assert_allclose(found, [[1 / 3, 0.5, 0], [0, 0, 0]])


def test_an_iou_of_exactly_one_half_is_a_hit() -> None:
    assert correct_regions([[0, 0, 10, 10]], [[0, 0, 10, 5]]).tolist() == [True]
    assert correct_regions([[0, 0, 10, 10]], [[0, 0, 10, 4.99]]).tolist() == [False]


@pytest.mark.parametrize(
    ("protocol", "hits"), [("any", [True, True, False, False]), ("merged", [False, False, True, False])]
)
def test_protocols_for_several_boxes(protocol: str, hits: list[bool]) -> None:
    found = correct_regions([LEFT, RIGHT, AROUND, FAR], [LEFT, RIGHT], protocol=protocol)  # type: ignore[arg-type]
    assert found.tolist() == hits


RANKINGS = [
    PhraseRanking([LEFT, FAR], [LEFT], ("people",)),  # found at 1
    PhraseRanking([FAR, LEFT], [LEFT, RIGHT], ("clothing", "other")),  # any: found at 2; merged: never
    PhraseRanking([FAR], [LEFT], ("people",)),  # never
    PhraseRanking([], [LEFT], ("other",)),  # no candidates
    PhraseRanking([LEFT], [], ("scene",)),  # no boxes: not asked
]


def test_a_table_worked_by_hand() -> None:
    found = grounding_table(grounding_items(RANKINGS, ks=(1, 2)), ks=(1, 2))
    assert found == {
        "recall@1": 25.0,
        "recall@2": 50.0,
        "upper_bound": 50.0,
        "phrases": 4,
        "per_type": {
            "clothing": {"recall@1": 0.0, "recall@2": 100.0, "upper_bound": 100.0, "phrases": 1},
            "other": {"recall@1": 0.0, "recall@2": 50.0, "upper_bound": 50.0, "phrases": 2},
            "people": {"recall@1": 50.0, "recall@2": 50.0, "upper_bound": 50.0, "phrases": 2},
        },
    }
    assert grounding_scores(RANKINGS, protocol="merged", ks=(1, 2))["recall@2"] == 25.0


def test_flat_scores_hold_numbers_only() -> None:
    found = grounding_scores(RANKINGS)
    assert found["recall@1"] == 25.0 and found["recall@1/people"] == 50.0 and found["upper_bound"] == 50.0
    assert all(isinstance(value, float) for value in found.values())


boxes = st.tuples(*[st.integers(0, 20)] * 4).map(
    lambda b: [min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]), max(b[1], b[3])]
)


@given(boxes, boxes)
def test_iou_counts_shared_pixels(a: list[int], b: list[int]) -> None:
    cells = [{(x, y) for x in range(box[0], box[2]) for y in range(box[1], box[3])} for box in (a, b)]
    union = len(cells[0] | cells[1])
    expected = len(cells[0] & cells[1]) / union if union else 0.0
    assert box_iou(np.array([a], float), np.array([b], float))[0, 0] == pytest.approx(expected)


@pytest.mark.parametrize(
    "wrong", [[[0, 0, 1]], [[0, 0, float("nan"), 1]], [[5, 0, 1, 1]], [["a", 0, 1, 1]], [0, 0, 1, 1]]
)
def test_boxes_that_are_none_are_refused(wrong: list[object]) -> None:
    with pytest.raises(DataError, match=r"box"):
        correct_regions(wrong, [LEFT])  # type: ignore[arg-type]


def test_nothing_to_score_is_refused() -> None:
    with pytest.raises(DataError, match="none of 1 phrases"):
        grounding_scores([PhraseRanking([LEFT], [])])
    with pytest.raises(DataError, match="choose any or merged"):
        correct_regions([LEFT], [LEFT], protocol="first")  # type: ignore[arg-type]
