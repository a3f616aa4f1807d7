"""The share of right answers, where a question has one: exact match, multiple choice, classification."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from vltool.errors import DataError
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


def members_of(kinds: Sequence[str]) -> dict[str, np.ndarray]:
    """Kind → the places of its items, by the alphabet; those of kind "" are left out."""
    found: dict[str, list[int]] = {}
    for place, kind in enumerate(kinds):
        if kind:
            found.setdefault(kind, []).append(place)
    return {kind: np.array(places) for kind, places in sorted(found.items())}
