"""Pointing at one of the candidate regions: referring expressions, multiple choice among given boxes.

A region finds what is referred to if its IoU with the annotated box is above 0.5: strictly, sides without +1. That is
how RefCOCO is scored (lichengunc/MAttNet; vilbert-multi-task adds 1 to sides). Among given boxes the one chosen
is right or wrong. Equal scores count against us: of several best-scored candidates a wrong one is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vltool.errors import DataError
from vltool.metrics.answering import share_right
from vltool.metrics.item_scores import ItemScores, Part, Score
from vltool.metrics.localization import as_boxes, box_iou

ABOVE_IOU = 0.5


class Pointed(NamedTuple):
    """One expression: whether the chosen candidate is right, whether any is, its picture and its kind."""

    is_right: bool
    is_possible: bool
    image_id: str
    kind: str = ""


def overlaps(boxes: np.ndarray | Sequence[Sequence[float]], gold: np.ndarray | Sequence[float]) -> np.ndarray:
    """(R,) IoU of boxes (R, 4) with the annotated one (4,)."""
    return box_iou(as_boxes(boxes), as_boxes(np.asarray(gold)[None]))[:, 0]


def finds(boxes: np.ndarray | Sequence[Sequence[float]], gold: np.ndarray | Sequence[float]) -> np.ndarray:
    """(R,) bool: which of boxes (R, 4) find what the annotated box (4,) holds."""
    return np.asarray(overlaps(boxes, gold) > ABOVE_IOU)


def choose(scores: np.ndarray, right: np.ndarray) -> int:
    """The place of the best-scored candidate; of several a wrong one, if there is one. scores, right: (C,).

    Raises DataError without a candidate, and for a score that is not a number, by its place.
    """
    if not len(scores):
        raise DataError("no candidate to choose of")
    unknown = np.flatnonzero(np.isnan(scores))
    if len(unknown):
        raise DataError(f"the score of candidate {unknown[0]} of {len(scores)} is not a number")
    best = np.flatnonzero(scores == scores.max())
    wrong = best[~right[best]]
    return int(wrong[0] if len(wrong) else best[0])


def pointing_items(pointed: Sequence[Pointed], *, upper_bound: bool = False) -> ItemScores:
    """`accuracy`, also of every kind if there are several, grouped by picture.

    upper_bound: with the share that the candidates allow at best, the oracle's recall.
    """
    kinds = [found.kind for found in pointed]
    listed = {"accuracy/": kinds} if len(set(kinds)) > 1 else {}
    items = share_right(
        [found.is_right for found in pointed], [found.image_id for found in pointed], kinds=listed, unit="image"
    )
    if not upper_bound:
        return items
    possible = Part(100 * np.array([found.is_possible for found in pointed], np.float64), items.parts["all"].units)
    parts = {**items.parts, "possible": possible}
    formulas = {**items.formulas, "upper_bound": Score("mean", ("possible",))}
    return ItemScores(items.unit, items.unit_ids, parts, formulas)
