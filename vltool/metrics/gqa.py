"""GQA's scores. All but consistency are of balanced questions only.

accuracy       exact match; `binary` and `open` apart (open: structural type query)
consistency    of a question answered right, the share of its entailed questions (but itself) that are too; averaged
               over such questions. Needs answers to all entailed questions, balanced or not
validity       whether the answer is in the scope of the question; plausibility: whether it makes sense. By the file of
               choices, but for common-object questions, where color, material and shape are both
distribution   chi-square of predicted against true answers, averaged over the groups of answers by their sizes, / 100:
               the lower the better, 0 at best

Rules: eval.py of gqadataset.org, as in openvqa/datasets/gqa/eval/gqa_eval.py of MILVLG/openvqa at f8f99663.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from vltool.errors import DataError
from vltool.metrics.answering import share_right
from vltool.metrics.item_scores import ItemScores, Part, Score

_COMMON = ("color", "material", "shape")


class Asked(Protocol):
    """What the scores need of a question (`datasets.records.GqaQuestion`)."""

    @property
    def question_id(self) -> str: ...
    @property
    def question(self) -> str: ...
    @property
    def answer(self) -> str: ...
    @property
    def is_balanced(self) -> bool: ...
    @property
    def structural(self) -> str: ...
    @property
    def semantic(self) -> str: ...
    @property
    def detailed(self) -> str: ...
    @property
    def group(self) -> str: ...
    @property
    def entailed(self) -> tuple[str, ...]: ...
    @property
    def num_steps(self) -> int: ...
    @property
    def valid(self) -> tuple[str, ...] | None: ...
    @property
    def plausible(self) -> tuple[str, ...] | None: ...


def gqa_items(questions: Sequence[Asked], predictions: Mapping[str, str]) -> ItemScores:
    """Every score that is a mean over questions; by type, steps and words: accuracy/structural/query and so on.

    predictions: question id → answer, of every balanced question at least. Without answers to all entailed questions of
    the balanced ones there is no consistency; without choices no validity and plausibility. Raises DataError.
    """
    balanced = [question for question in questions if question.is_balanced]
    if not balanced:
        raise DataError(f"none of {len(questions)} questions is balanced: nothing to score")
    missing = [question.question_id for question in balanced if question.question_id not in predictions]
    if missing:
        raise DataError(f"{len(missing)} balanced questions have no prediction, first {missing[0]}")
    right = [predictions[question.question_id] == question.answer for question in balanced]
    kinds = {
        "": ["open" if question.structural == "query" else "binary" for question in balanced],
        "accuracy/structural/": [question.structural for question in balanced],
        "accuracy/semantic/": [question.semantic for question in balanced],
        "accuracy/steps/": [str(question.num_steps) for question in balanced],
        "accuracy/words/": [str(len(question.question.split())) for question in balanced],
    }
    items = share_right(right, [question.question_id for question in balanced], kinds=kinds)
    parts, formulas = dict(items.parts), dict(items.formulas)
    for name, part in {**_choices(balanced, predictions), **_consistency(questions, balanced, predictions)}.items():
        parts[name] = part
        formulas[name] = Score("mean", (name,))
    return ItemScores(items.unit, items.unit_ids, parts, formulas)


def distribution(questions: Sequence[Asked], predictions: Mapping[str, str]) -> float | None:
    """The distribution score of balanced questions; None where none of them has a group."""
    gold: dict[str, Counter[str]] = {}
    predicted: dict[str, Counter[str]] = {}
    for question in questions:
        if question.is_balanced and question.group:
            gold.setdefault(question.group, Counter())[question.answer] += 1
            predicted.setdefault(question.group, Counter())[predictions[question.question_id]] += 1
    if not gold:
        return None
    total = sum(
        sum((predicted[group][answer] - count) ** 2 / count for answer, count in answers.items()) * answers.total()
        for group, answers in gold.items()
    )
    return total / sum(answers.total() for answers in gold.values()) / 100


def _choices(balanced: Sequence[Asked], predictions: Mapping[str, str]) -> dict[str, Part]:
    if any(question.valid is None or question.plausible is None for question in balanced):
        return {}
    units = np.arange(len(balanced))
    found = {}
    for name, listed in (
        ("validity", [question.valid for question in balanced]),
        ("plausibility", [question.plausible for question in balanced]),
    ):
        belongs = [
            predictions[question.question_id] in (_COMMON if "Common" in question.detailed else choices or ())
            for question, choices in zip(balanced, listed, strict=True)
        ]
        found[name] = Part(100 * np.array(belongs, np.float64), units)
    return found


def _consistency(
    questions: Sequence[Asked], balanced: Sequence[Asked], predictions: Mapping[str, str]
) -> dict[str, Part]:
    answers = {question.question_id: question.answer for question in questions}
    values, units = [], []
    for place, question in enumerate(balanced):
        inferred = [number for number in question.entailed if number != question.question_id]
        if any(number not in predictions or number not in answers for number in inferred):
            return {}
        if inferred and predictions[question.question_id] == question.answer:
            values.append(100 * np.mean([predictions[number] == answers[number] for number in inferred]))
            units.append(place)
    return {"consistency": Part(np.array(values), np.array(units))} if values else {}
