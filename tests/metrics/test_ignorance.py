"""What ignorance gets, against counting every case."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vltool.errors import DataError
from vltool.metrics.ignorance import chance_recall, majority_answer, question_only_answers, random_region_recall
from vltool.metrics.recall import retrieval_scores

TRAIN = [
    ("What color is the cat?", ["black"] * 10),
    ("What color is the cat?", ["black"] * 6 + ["white"] * 4),
    ("What color is the dog?", ["Brown."] * 10),
    ("What color is the dog's hat?", ["brown"] * 7 + ["red"] * 3),
    ("Is it day?", ["yes"] * 10),
    ("Is it night?", ["yes"] * 10),
    ("Is he?", ["yes"] * 9 + ["no"]),
]


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("what color is the cat", "black"),  # the same words
        ("What color is the dog ?", "brown"),
        ("What color is the sky?", "brown"),  # "what color is the": 17 brown, 16 black
        ("Is she?", "yes"),
        ("Who?", "yes"),  # nothing begins so: the majority
        ("", "yes"),
    ],
)
def test_question_only_backs_off_to_shorter_beginnings(question: str, answer: str) -> None:
    assert question_only_answers(TRAIN, [question]) == [answer]


def test_the_same_words_count_before_longer_questions() -> None:
    train = [("Is it", ["no"]), ("Is it day", ["yes"] * 9)]
    assert question_only_answers(train, ["Is it?", "Is it late?"]) == ["no", "yes"]


def test_majority_answer_and_its_ties() -> None:
    assert majority_answer(TRAIN) == "yes"
    assert majority_answer([("a?", ["b", "c"])]) == "b"
    assert question_only_answers([("?", ["no"]), ("Is it?", ["yes"] * 2)], [""]) == ["yes"]


def test_training_without_answers_is_refused() -> None:
    with pytest.raises(DataError, match="no answers"):
        question_only_answers([("What?", [])], ["What?"])


def drawn(right: int, total: int, k: int) -> float:
    """Share of all ways to draw k of `total` that hold one of the first `right`."""
    ways = list(combinations(range(total), min(k, total)))
    return sum(min(way) < right for way in ways) / len(ways)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)).map(sorted), min_size=1, max_size=4), st.integers(1, 9))
def test_random_regions_are_counted_exactly(phrases: list[list[int]], k: int) -> None:
    expected = np.mean([drawn(right, total, k) if right else 0.0 for right, total in phrases])
    found = random_region_recall(np.array([p[0] for p in phrases]), np.array([p[1] for p in phrases]), ks=(k,))
    assert found[f"recall@{k}"] == pytest.approx(100 * expected)


def test_random_regions_by_hand() -> None:
    found = random_region_recall(np.array([1, 0, 2]), np.array([4, 5, 4]), ks=(1, 2, 10))
    assert found == pytest.approx({"recall@1": 25.0, "recall@2": 100 * (1 / 2 + 5 / 6) / 3, "recall@10": 200 / 3})


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 3), min_size=2, max_size=4), st.integers(1, 4))
def test_chance_recall_is_counted_exactly(captions: list[int], k: int) -> None:
    caption_image = np.repeat(np.arange(len(captions)), captions)
    found = chance_recall(caption_image, num_images=len(captions), ks=(k,))
    expected = np.mean([drawn(own, sum(captions), k) for own in captions])
    assert found["image_to_text"][f"recall@{k}"] == pytest.approx(100 * expected)
    assert found["text_to_image"][f"recall@{k}"] == pytest.approx(100 * min(1, k / len(captions)))


def test_chance_is_what_random_scores_get() -> None:
    rng = np.random.default_rng(0)
    caption_image = np.repeat(np.arange(12), 3)
    expected = chance_recall(caption_image, num_images=12, ks=(1, 5), folds=2)
    runs = [retrieval_scores(rng.random((12, 36)), caption_image, ks=(1, 5), folds=2) for _ in range(600)]
    for way, recalls in expected.items():
        for name, value in recalls.items():
            assert np.mean([run[way][name] for run in runs]) == pytest.approx(value, abs=2)


def test_counts_that_cannot_be_are_refused() -> None:
    with pytest.raises(DataError, match="more correct regions"):
        random_region_recall(np.array([3]), np.array([2]))
    with pytest.raises(DataError, match="one count a phrase"):
        random_region_recall(np.array([3]), np.array([2, 1]))
    with pytest.raises(DataError, match="every K"):
        chance_recall(np.array([0]), num_images=1, ks=(0,))
