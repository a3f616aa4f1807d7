"""Pointing, NLVR2 and shares of right answers, on tables worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from vltool.errors import DataError
from vltool.metrics.answering import share_right
from vltool.metrics.nlvr2 import nlvr2_items
from vltool.metrics.pointing import Pointed, choose, finds, overlaps, pointing_items

GOLD = (0.0, 0.0, 10.0, 10.0)


def test_half_an_overlap_finds_nothing() -> None:
    boxes = [(0, 0, 10, 10), (0, 0, 10, 5), (0, 0, 10, 5.001), (0, 0, 20, 10), (20, 20, 30, 30)]
    np.testing.assert_allclose(overlaps(boxes, GOLD), [1, 0.5, 0.5001, 0.5, 0])
    assert finds(boxes, GOLD).tolist() == [True, False, True, False, False]


@pytest.mark.parametrize(
    ("scores", "right", "chosen"),
    [
        ([0.1, 0.9, 0.3], [False, True, False], 1),
        ([0.9, 0.9, 0.3], [True, False, False], 1),  # equal scores count against us
        ([0.9, 0.9], [True, True], 0),
        ([0.5], [False], 0),
    ],
)
def test_the_best_scored_is_chosen(scores: list[float], right: list[bool], chosen: int) -> None:
    assert choose(np.array(scores), np.array(right)) == chosen


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([0.1, float("nan"), 0.3], "the score of candidate 1 of 3 is not a number"),
        ([], "no candidate to choose of"),
    ],
)
def test_scores_that_nothing_can_be_chosen_by_are_refused(scores: list[float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        choose(np.array(scores), np.zeros(len(scores), bool))


def test_shares_and_the_upper_bound() -> None:
    pointed = [
        Pointed(True, True, "coco:1", "testA"),
        Pointed(False, True, "coco:1", "testA"),
        Pointed(False, False, "coco:2", "testB"),
        Pointed(True, True, "coco:3", "testB"),
    ]
    items = pointing_items(pointed, upper_bound=True)
    assert items.scores() == {"accuracy": 50, "accuracy/testA": 50, "accuracy/testB": 50, "upper_bound": 75}
    assert items.unit == "image" and items.unit_ids == ("coco:1", "coco:2", "coco:3")
    assert pointing_items(pointed[:2]).scores() == {"accuracy": 50}  # of one kind alone, no score of its own


def test_a_sentence_is_consistent_if_all_its_pairs_are_right() -> None:
    sentences = ["dev-1--0", "dev-1--0", "dev-1--1", "dev-2--0", "dev-1--1"]
    assert nlvr2_items([True, True, True, False, False], sentences).scores() == {
        "accuracy": 60,
        "consistency": pytest.approx(100 / 3),
    }


def test_answers_of_no_kind_have_no_score_of_their_own() -> None:
    items = share_right([True, False, True], ["1", "2", "3"], kinds={"accuracy/": ["what", "", "what"]})
    assert items.scores() == {"accuracy": pytest.approx(200 / 3), "accuracy/what": 100}
    with pytest.raises(DataError, match="at least one item"):
        share_right([], [])
