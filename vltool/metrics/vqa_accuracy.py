"""The official VQA accuracy, per question and on average, with every oddity of the official evaluator.

A prediction is worth min(1, agreeing annotators / 3), averaged over leaving out one of the (ten) annotators. Answers
are normalised only where the annotators do not all agree: if ten wrote "black", then "Black." is worth nothing.
Rules: PythonEvaluationTools/vqaEvaluation/vqaEval.py of GT-Vision-Lab/VQA at a013f004.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vltool.errors import DataError
from vltool.metrics.answer_words import normalize_answer, strip_answer
from vltool.metrics.item_scores import ItemScores, Part, Score

__all__ = ["VqaAccuracy", "accuracy_items", "agreement", "normalize_answer", "question_accuracy", "vqa_accuracy"]

_OFFICIAL_DIGITS = 2


@dataclass(frozen=True)
class VqaAccuracy:
    """Percent, rounded as asked: over all questions, per question type, per answer type, and of each question.

    shares: of each question, 0 to 1, not rounded.
    """

    overall: float
    per_question_type: dict[str, float]
    per_answer_type: dict[str, float]
    per_question: tuple[float, ...]
    shares: tuple[float, ...]


def vqa_accuracy(
    predictions: Sequence[str],
    answers: Sequence[Sequence[str]],
    *,
    question_types: Sequence[str] | None = None,
    answer_types: Sequence[str] | None = None,
    digits: int = _OFFICIAL_DIGITS,
) -> VqaAccuracy:
    """The official scores of one prediction a question; all sequences in the same order.

    answers: the annotators' words, as the dataset has them. digits: the official evaluator rounds percent to 2.
    Without types the tables are empty. Raises DataError for unequal lengths or a question without answers.
    """
    given = {"answers": answers, "question types": question_types, "answer types": answer_types}
    for name, values in given.items():
        if values is not None and len(values) != len(predictions):
            raise DataError(f"{len(predictions)} predictions and {len(values)} {name}: expected one a question")
    if not predictions:
        raise DataError("no predictions to score")
    shares = [question_accuracy(predicted, words) for predicted, words in zip(predictions, answers, strict=True)]
    return VqaAccuracy(
        overall=_percent(shares, digits),
        per_question_type=_per_type(shares, question_types, digits),
        per_answer_type=_per_type(shares, answer_types, digits),
        per_question=tuple(round(100 * share, digits) for share in shares),
        shares=tuple(shares),
    )


def accuracy_items(
    shares: Sequence[float],
    question_ids: Sequence[int],
    *,
    types: Mapping[str, Sequence[str]],
    name: str = "accuracy",
) -> ItemScores:
    """The accuracy of every question, and the scores made of them: `name`, and one for every type.

    shares: 0 to 1, of each question. types: what the scores of some types are called before the type → the type of
    each question; {"accuracy/": ["number", …]} gives accuracy/number.
    """
    values = 100 * np.array(shares, np.float64)
    parts = {"all": Part(values, np.arange(len(values)))}
    formulas = {name: Score("mean", ("all",))}
    for prefix, listed in types.items():
        grouped: dict[str, list[int]] = {}
        for place, kind in enumerate(listed):
            grouped.setdefault(prefix + kind, []).append(place)
        for label, members in grouped.items():
            places = np.array(members)
            parts[label] = Part(values[places], places)
            formulas[label] = Score("mean", (label,))
    return ItemScores("question", tuple(map(str, question_ids)), parts, formulas)


def question_accuracy(prediction: str, answers: Sequence[str]) -> float:
    """Accuracy of one prediction, 0 to 1. Raises DataError if there are no answers."""
    if not answers:
        raise DataError(f"prediction {prediction[:60]!r}: the question has no answers to compare with")
    prediction = strip_answer(prediction)
    words = [strip_answer(answer) for answer in answers]
    if len(set(words)) > 1:
        prediction = normalize_answer(prediction)
        words = [normalize_answer(word) for word in words]
    return agreement([word == prediction for word in words])


def agreement(agrees: Sequence[bool]) -> float:
    """Mean over the annotators of min(1, how many of the others agree / 3).

    With ten annotators: 0, .3, .6, .9 and from four on 1, by how many agree.
    """
    total = sum(agrees)
    # Summed one by one, as the official evaluator does, so that the last bit is the same.
    return sum(min(1, (total - own) / 3) for own in agrees) / len(agrees)


def _per_type(shares: Sequence[float], types: Sequence[str] | None, digits: int) -> dict[str, float]:
    grouped: dict[str, list[float]] = {}
    for name, share in zip(types or (), shares, strict=False):
        grouped.setdefault(name, []).append(share)
    return {name: _percent(found, digits) for name, found in grouped.items()}


def _percent(shares: Sequence[float], digits: int) -> float:
    return round(100 * float(sum(shares)) / len(shares), digits)
