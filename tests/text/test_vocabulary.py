"""Vocabularies and answer pools."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vltool.errors import DataError
from vltool.metrics.vqa_accuracy import normalize_answer, question_accuracy
from vltool.text.vocabulary import PADDING, UNKNOWN, AnswerPool, Vocabulary, soft_target

SENTENCES = [("a", "red", "cat"), ("a", "dog"), ("a", "red", "dog", "runs")]


def test_rows_go_by_frequency_then_letter() -> None:
    found = Vocabulary.build(SENTENCES)
    assert list(found) == ["<padding>", "<unknown>", "a", "dog", "red", "cat", "runs"]
    assert found.ids(("a", "bird", "runs")) == [2, UNKNOWN, 6]
    assert len(found) == 7 and "dog" in found and found[PADDING] == "<padding>"
    assert list(Vocabulary.build(SENTENCES, min_count=2)) == ["<padding>", "<unknown>", "a", "dog", "red"]


def test_a_sentence_without_words_is_one_unknown_word() -> None:
    assert Vocabulary.build(SENTENCES).ids(()) == [UNKNOWN]


def test_special_words_in_text_are_no_words_of_their_own() -> None:
    assert list(Vocabulary.build([("<padding>", "a")])) == ["<padding>", "<unknown>", "a"]


def test_a_vocabulary_survives_its_file(tmp_path: Path) -> None:
    found = Vocabulary.build([("naïve", "🏍", "中")], min_count=1)
    found.save(tmp_path / "words.json")
    assert Vocabulary.load(tmp_path / "words.json").words == found.words
    assert [path.name for path in tmp_path.iterdir()] == ["words.json"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "expected an object of kind 'vocabulary'"),
        ('{"kind": "vocabulary", "words": ["a", "b"]}', "expected the first words <padding>"),
        ('{"kind": "vocabulary", "words": ["<padding>", "<unknown>", "a", "a"]}', "a word stands twice"),
        ('{"kind": "vocabulary", "words": ["<padding>", "<unknown>", 3]}', "expected a list of words"),
    ],
)
def test_a_file_that_holds_no_vocabulary(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "words.json").write_text(content)
    with pytest.raises(DataError, match=f"words.json: {message}"):
        Vocabulary.load(tmp_path / "words.json")


ANNOTATED = [("Yes",) * 10] * 3 + [("yes",) * 6 + ("no",) * 4] + [("2", "two") * 5] * 2 + [("red",) * 10]


def test_answers_enter_the_pool_when_right_more_often_than_the_threshold() -> None:
    pool = AnswerPool.build(ANNOTATED, threshold=1, normalize=normalize_answer)
    assert pool.answers == ("yes", "2")
    assert AnswerPool.build(ANNOTATED, threshold=2, normalize=normalize_answer).answers == ("yes",)
    assert len(AnswerPool.build(ANNOTATED, threshold=8, normalize=normalize_answer)) == 0
    named = AnswerPool.build(ANNOTATED, correct=["Red!"] * 7, threshold=1, normalize=normalize_answer)
    assert named.answers == ("red",)


def test_soft_targets_are_what_the_official_accuracy_gives() -> None:
    pool = AnswerPool.build(ANNOTATED, threshold=0, normalize=normalize_answer)
    assert pool.answers == ("yes", "2", "red")
    annotators = ["Yes"] * 1 + ["two"] * 2 + ["red"] * 3 + ["blue"] * 4
    assert pool.soft_targets(annotators) == {0: 0.3, 1: 0.6, 2: 0.9}
    for place, target in pool.soft_targets(annotators).items():
        assert target == pytest.approx(question_accuracy(pool.answers[place], annotators))
    assert pool.soft_targets(["purple"] * 10) == {}


@pytest.mark.parametrize(("count", "target"), [(0, 0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1), (10, 1)])
def test_soft_target_of_ten(count: int, target: float) -> None:
    assert soft_target(count, 10) == target


def test_a_pool_survives_its_file(tmp_path: Path) -> None:
    pool = AnswerPool.build(ANNOTATED, threshold=1, normalize=normalize_answer)
    pool.save(tmp_path / "answers.json")
    loaded = AnswerPool.load(tmp_path / "answers.json")
    assert loaded.answers == pool.answers and loaded.threshold == 1
    assert loaded.soft_targets(["Yes", "two"]) == pool.soft_targets(["Yes", "two"]) != {}
    content = json.loads((tmp_path / "answers.json").read_text()) | {"forms": {"x": 9}}
    (tmp_path / "answers.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match="does not name places among the 2 answers"):
        AnswerPool.load(tmp_path / "answers.json")
