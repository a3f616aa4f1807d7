"""The official VQA accuracy: cases worked by hand, and the official evaluator's own numbers to 1e-9.

golden/vqa_official.zip holds 1,500 made-up hard cases and what the official evaluator gave for them. Further folders
`vqa_official` are taken from the folders in the environment variable VLTOOL_GOLDEN.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vltool.datasets import vqa_v2
from vltool.datasets.sources import read_json
from vltool.errors import DataError
from vltool.metrics.answer_words import CONTRACTIONS, normalize_answer, plain_punctuation
from vltool.metrics.vqa_accuracy import VqaAccuracy, agreement, question_accuracy, vqa_accuracy

OWN = Path(__file__).parent / "golden" / "vqa_official.zip"
ROOTS = [Path(name) for name in os.environ.get("VLTOOL_GOLDEN", "").split(os.pathsep) if name]
GOLDEN = [
    OWN,
    *(place for root in ROOTS for place in (root / "vqa_official", root / "vqa_official.zip") if place.exists()),
]


def score(questions: Path, annotations: Path, results: Path, *, digits: int = 2) -> tuple[list[int], VqaAccuracy]:
    records = vqa_v2.read(files={"questions": questions, "annotations": annotations})
    predicted = vqa_v2.read_results(results)
    scores = vqa_accuracy(
        [predicted[record.question_id] for record in records],
        [record.answers for record in records],
        question_types=[record.question_type for record in records],
        answer_types=[record.answer_type for record in records],
        digits=digits,
    )
    return [record.question_id for record in records], scores


@pytest.mark.parametrize("folder", GOLDEN, ids=str)
def test_equals_the_official_evaluator_on_hard_cases(folder: Path) -> None:
    official = read_json(folder / "official_scores.json")
    ids, scores = score(folder / "questions.json", folder / "annotations.json", folder / "results.json", digits=10)
    assert scores.overall == pytest.approx(official["overall"], abs=1e-9)
    assert scores.per_question_type == pytest.approx(official["per_question_type"], abs=1e-9)
    assert scores.per_answer_type == pytest.approx(official["per_answer_type"], abs=1e-9)
    found = dict(zip(map(str, ids), scores.per_question, strict=True))
    assert found == pytest.approx(official["per_question"], abs=1e-9)


def test_equals_the_official_evaluator_on_real_questions(shared_data: Path) -> None:
    results = sorted((shared_data / "vqa_v2").glob("*/evaluator/*_results.json"))
    assert len(results) == 9
    for path in results:
        folder = path.parents[1]
        questions, annotations = next(folder.glob("*_questions.json")), next(folder.glob("*_annotations.json"))
        ids, scores = score(questions, annotations, path)
        official = read_json(path.with_name(path.name.replace("_results", "_accuracy")))
        assert scores.overall == official["overall"]
        assert scores.per_answer_type == official["perAnswerType"]
        assert scores.per_question_type == official["perQuestionType"]
        per_question = read_json(path.with_name(path.name.replace("_results", "_evalQA")))
        assert dict(zip(map(str, ids), scores.per_question, strict=True)) == per_question


@pytest.mark.parametrize(("count", "expected"), [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (10, 1.0)])
def test_agreement_of_ten(count: int, expected: float) -> None:
    assert agreement([True] * count + [False] * (10 - count)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("answers", "prediction", "expected"),
    [
        (["black"] * 10, "black", 1.0),
        (["black"] * 10, "Black.", 0.0),  # unanimous: nothing is normalised
        (["black"] * 10, " black\n", 1.0),  # but white space around is always taken away
        (["black"] * 9 + ["white"], "The Black.", 1.0),
        (["two"] * 2 + ["3"] * 8, "2", 0.6),
        (["yes", "no"], "yes", 1 / 6),  # two annotators: (0 + 1/3) / 2
    ],
)
def test_one_question(answers: list[str], prediction: str, expected: float) -> None:
    assert question_accuracy(prediction, answers) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("raw", "plain"),
    [
        ("The man's hat!", "man's hat"),
        ("well-known", "well known"),  # no space beside it: becomes a space
        ("well - known", "well known"),
        ("man,woman 1,000", "manwoman 1000"),  # digits grouped by a comma: every mark is deleted
        ("3:00 p.m.", "3:00 pm"),
        ("1.5", "1.5"),
        ("none of ten", "0 of 10"),
        ("dont", "don't"),
        ("Im", "im"),  # the official keys with capitals cannot be met in lower case
        ("somebody'd", "somebodyd"),
        ("a", ""),
        ("." * 40, "." * 8),  # 32 periods at most
        ("a\tb\n", "b"),
    ],
)
def test_normalised_words(raw: str, plain: str) -> None:
    assert normalize_answer(raw) == plain


def test_punctuation_beside_a_space_anywhere_is_deleted_everywhere() -> None:
    assert plain_punctuation("a-b -c") == "ab c"


def test_contraction_table_is_complete() -> None:
    assert len(CONTRACTIONS) == 120 - 6  # four official keys have capitals, two map words to themselves
    assert CONTRACTIONS["hadn'tve"] == CONTRACTIONS["hadnt've"] == "hadn't've"


def test_averages_per_type_are_rounded_to_two_digits() -> None:
    scores = vqa_accuracy(
        ["a cat", "dog", "1"],
        [["cat"] * 3 + ["dog"] * 7, ["cat"] * 10, ["1"] * 9 + ["2"]],
        question_types=["what", "what", "how many"],
        answer_types=["other", "other", "number"],
    )
    assert scores.per_question == (90.0, 0.0, 100.0)
    assert scores.overall == 63.33
    assert scores.per_question_type == {"what": 45.0, "how many": 100.0}
    assert scores.per_answer_type == {"other": 45.0, "number": 100.0}


def test_lengths_that_differ_are_refused() -> None:
    with pytest.raises(DataError, match="2 predictions and 1 answers"):
        vqa_accuracy(["a", "b"], [["a"]])
    with pytest.raises(DataError, match="has no answers"):
        vqa_accuracy(["a"], [[]])
    with pytest.raises(DataError, match="no predictions"):
        vqa_accuracy([], [])
