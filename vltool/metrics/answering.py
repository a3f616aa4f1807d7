"""The share of right answers, where a question has one: exact match, multiple choice, classification."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from vltool.errors import DataError
from vltool.metrics.answer_words import normalize_answer
from vltool.metrics.item_scores import ItemScores, Part, Score


def share_right(
    right: Sequence[bool],
    units: Sequence[str],
    *,
    kinds: Mapping[str, Sequence[str]] | None = None,
    unit: str = "question",
) -> ItemScores:
    """`accuracy` in percent over all items, and for every kind of item under its name.

    units: the id of each item's unit, what a resample draws. kinds: what the scores of some kinds are called before the
    kind → the kind of each item; {"accuracy/": ["left", …]} gives accuracy/left. A kind "" has no score of its own.
    """
    if not right or len(right) != len(units):
        raise DataError(
            f"expected one unit an item and at least one item, found {len(right)} items, {len(units)} units"
        )
    values = 100 * np.array(right, np.float64)
    places = {name: k for k, name in enumerate(dict.fromkeys(units))}
    unit_of = np.array([places[name] for name in units])
    parts = {"all": Part(values, unit_of)}
    formulas = {"accuracy": Score("mean", ("all",))}
    for prefix, listed in (kinds or {}).items():
        for label, members in members_of(listed).items():
            parts[prefix + label] = Part(values[members], unit_of[members])
            formulas[prefix + label] = Score("mean", (prefix + label,))
    return ItemScores(unit, tuple(places), parts, formulas)


def exact_items(
    answers: Sequence[str], expected: Sequence[str], question_ids: Sequence[str], question_types: Sequence[str]
) -> ItemScores:
    """`accuracy` of answers that are the expected ones after VQA's normalisation, also by type as accuracy/what."""
    right = [normalize_answer(own) == normalize_answer(gold) for own, gold in zip(answers, expected, strict=True)]
    return share_right(right, question_ids, kinds={"accuracy/": question_types})


def label_items(predicted: Sequence[str], labels: Sequence[str], image_ids: Sequence[str]) -> ItemScores:
    """`accuracy` of predicted labels, also of each label as accuracy/entailment, grouped by picture."""
    right = [own == label for own, label in zip(predicted, labels, strict=True)]
    return share_right(right, image_ids, kinds={"accuracy/": labels}, unit="image")


def members_of(kinds: Sequence[str]) -> dict[str, np.ndarray]:
    """Kind → the places of its items, by the alphabet; those of kind "" are left out."""
    found: dict[str, list[int]] = {}
    for place, kind in enumerate(kinds):
        if kind:
            found.setdefault(kind, []).append(place)
    return {kind: np.array(places) for kind, places in sorted(found.items())}
