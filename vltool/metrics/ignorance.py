"""What is reached without looking: the scores to read beside every score.

VQA: the most common answer, and the question alone. Retrieval and grounding: the exact expectation of Recall@K when
the candidates are in random order.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from vltool.errors import DataError
from vltool.metrics.answer_words import normalize_answer
from vltool.metrics.recall import check_caption_image, check_ks, fold_bounds

_LAST_WORD = "\U0010ffff"
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")


def question_words(question: str) -> tuple[str, ...]:
    """Lower-case words of a question without punctuation."""
    return tuple(_WORD.findall(question.lower()))


def question_only_answers(
    train: Iterable[tuple[str, Sequence[str]]],
    questions: Iterable[str],
    *,
    words: Callable[[str], Sequence[str]] = question_words,
    normalize: Callable[[str], str] = normalize_answer,
) -> list[str]:
    """The answer that training suggests to each question when no picture is seen.

    train: (question, annotators' answers). The most common answer, after `normalize` (VQA's official one), to training
    questions with the same words; if there are none, to those that begin with the same words, one word less at a
    time; with no words left ("") to all. Among equally common answers the first in the alphabet is taken.
    Raises DataError if training holds no answer.
    """
    normal: dict[str, str] = {}
    known = []
    for question, answers in train:
        for answer in answers:
            if answer not in normal:
                normal[answer] = normalize(answer)
        if answers:
            known.append((tuple(words(question)), tuple(normal[answer] for answer in answers)))
    if not known:
        raise DataError("the training questions hold no answers: nothing to guess from")
    guesses = _Guesses(known)
    return [guesses.answer(tuple(words(question))) for question in questions]


def majority_answer(train: Iterable[tuple[str, Sequence[str]]]) -> str:
    """The most common answer of the training questions, after the official normalisation."""
    return question_only_answers((("", answers) for _, answers in train), [""])[0]


def chance_recall(
    caption_image: np.ndarray, *, num_images: int, ks: Sequence[int] = (1, 5, 10), folds: int = 1
) -> dict[str, dict[str, float]]:
    """Expected recall@K in percent of random scores, `image_to_text` and `text_to_image`.

    caption_image: (C,) the row of each caption's picture. A picture with n of C captions finds one of its own among
    K with probability 1 - (C-n choose K) / (C choose K); a caption finds its picture with probability K / I.
    """
    check_ks(ks)
    counts = np.bincount(check_caption_image(caption_image, num_images=num_images), minlength=num_images)
    parts = [counts[first:last] for first, last in fold_bounds(num_images, folds)]
    image_to_text = {
        f"recall@{k}": 100 * float(np.mean([_found(own, np.full(len(own), own.sum()), k).mean() for own in parts]))
        for k in ks
    }
    text_to_image = {f"recall@{k}": 100 * min(1.0, k / len(parts[0])) for k in ks}
    return {"image_to_text": image_to_text, "text_to_image": text_to_image}


def random_region_recall(
    num_correct: np.ndarray, num_regions: np.ndarray, *, ks: Sequence[int] = (1, 5, 10)
) -> dict[str, float]:
    """Expected recall@K in percent when the regions of each phrase are in random order.

    num_correct, num_regions: (P,) how many of a phrase's candidate regions would be right, and how many there are.
    """
    correct, regions = np.asarray(num_correct, np.int64), np.asarray(num_regions, np.int64)
    check_ks(ks)
    if correct.shape != regions.shape or correct.ndim != 1 or not len(correct):
        raise DataError(f"expected one count a phrase, found shapes {correct.shape} and {regions.shape}")
    if (correct < 0).any() or (correct > regions).any():
        raise DataError("more correct regions than regions, or less than none")
    return {f"recall@{k}": 100 * float(_found(correct, regions, k).mean()) for k in ks}


def _found(right: np.ndarray, total: np.ndarray, k: int) -> np.ndarray:
    """Probability that k drawn without replacement of `total` hold one of `right`: one less the hypergeometric 0."""
    missed = np.ones(len(right))
    for drawn in range(k):
        left = np.maximum(total - drawn, 0)
        wrong = np.maximum(total - right - drawn, 0)
        missed = missed * np.divide(wrong, left, out=np.zeros(len(right)), where=left > 0)
    return np.where(right > 0, 1 - missed, 0.0)


class _Guesses:
    """Training questions in alphabetical order: those that begin alike stand together, so none is counted twice."""

    def __init__(self, known: list[tuple[tuple[str, ...], tuple[str, ...]]]):
        known.sort()
        self._questions = [question for question, _ in known]
        self._answers = [answers for _, answers in known]
        self._best: dict[tuple[int, int], str] = {}

    def answer(self, question: tuple[str, ...]) -> str:
        first, last = bisect_left(self._questions, question), bisect_right(self._questions, question)
        if not question:  # everything begins with nothing
            last = len(self._questions)
        while first == last:
            first, last = bisect_left(self._questions, question), bisect_left(self._questions, (*question, _LAST_WORD))
            question = question[:-1]
        if (first, last) not in self._best:
            self._best[first, last] = self._most_common(first, last)
        return self._best[first, last]

    def _most_common(self, first: int, last: int) -> str:
        counts = Counter(answer for answers in self._answers[first:last] for answer in answers)
        return min(counts, key=lambda answer: (-counts[answer], answer))
