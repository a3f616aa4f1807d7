"""GQA's scores on a table worked by hand. (The official script gives the same on random questions: to 1e-13.)"""

from __future__ import annotations

from dataclasses import replace

import pytest

from vltool.datasets.records import GqaQuestion
from vltool.errors import DataError
from vltool.metrics.gqa import distribution, gqa_items
from vltool.structures import ImageId

IMAGE = ImageId("vg:1")


def asked(number: str, answer: str, structural: str, **more: object) -> GqaQuestion:
    given = {"semantic": "attr", "detailed": "x", "group": "color", "num_steps": 1, "valid": ("red",), "plausible": ()}
    return GqaQuestion(number, IMAGE, "Is it so ?", answer, structural=structural, **(given | more))  # type: ignore[arg-type]


QUESTIONS = [
    asked("a", "red", "query", entailed=("a", "b", "e"), valid=("red", "blue"), plausible=("red",)),
    asked("b", "yes", "verify", entailed=("a",), group="", valid=("yes", "no"), plausible=("yes",)),
    asked("c", "blue", "query", entailed=("b",), num_steps=3),  # answered wrong: its entailed do not count
    asked("d", "color", "query", detailed="twoCommon", valid=(), plausible=(), group="common"),
    asked("e", "no", "verify", is_balanced=False, valid=(), plausible=()),
]
PREDICTIONS = {"a": "red", "b": "yes", "c": "red", "d": "shape", "e": "yes"}


def test_scores_of_a_table_worked_by_hand() -> None:
    scores = gqa_items(QUESTIONS, PREDICTIONS).scores()
    assert scores["accuracy"] == 50  # a, b of a, b, c, d; e is not balanced
    assert scores["binary"] == 100 and scores["open"] == pytest.approx(100 / 3)
    assert scores["accuracy/structural/query"] == pytest.approx(100 / 3)
    assert scores["accuracy/steps/3"] == 0 and scores["accuracy/steps/1"] == pytest.approx(200 / 3)
    assert scores["accuracy/words/4"] == 50
    assert scores["validity"] == 100  # c: red is valid; d: shape, of common objects
    assert scores["plausibility"] == 75
    assert scores["consistency"] == 75  # a: b right, e wrong; b: a right
    # color: red 1 true, 2 predicted; blue 1 true, 0 predicted: (1 + 1) x 2. common: color 1 true, 0 predicted: 1 x 1.
    assert distribution(QUESTIONS, PREDICTIONS) == pytest.approx((2 * 2 + 1 * 1) / 3 / 100)


def test_without_answers_to_entailed_questions_there_is_no_consistency() -> None:
    some = {number: answer for number, answer in PREDICTIONS.items() if number != "e"}
    scores = gqa_items(QUESTIONS, some).scores()
    assert "consistency" not in scores and scores["accuracy"] == 50
    assert "consistency" not in gqa_items(QUESTIONS[:4], PREDICTIONS).scores()


def test_without_choices_there_is_no_validity() -> None:
    bare = [replace(question, valid=None, plausible=None) for question in QUESTIONS]
    assert not {"validity", "plausibility"} & gqa_items(bare, PREDICTIONS).scores().keys()


def test_what_cannot_be_scored_is_refused() -> None:
    with pytest.raises(DataError, match="1 balanced questions have no prediction, first a"):
        gqa_items(QUESTIONS, dict.fromkeys("bcde", "no"))
    with pytest.raises(DataError, match="none of 1 questions is balanced"):
        gqa_items(QUESTIONS[4:], PREDICTIONS)
    assert distribution([replace(QUESTIONS[0], group="")], PREDICTIONS) is None
