"""Phrase grounding: Recall@K of ranked boxes, and how much the candidate boxes allow at best.

A box finds a phrase if its IoU (no +1 on sides) with an annotated box is at least 0.5. Phrases have several boxes
where they name several things; two protocols are in use, and first-box evaluation is neither:
any     with any one of the phrase's boxes: BAN (jnhwkim/ban-vqa, utils.py); MDETR with merge_boxes=False
merged  with the smallest box around all of them: MDETR (ashkamath/mdetr, datasets/flickr_eval.py) by default
Phrases without boxes are not asked. Each phrase counts once overall and once in each of its types.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from vltool.errors import DataError
from vltool.metrics.item_scores import ItemScores, Part, Score
from vltool.metrics.recall import check_ks

BoxProtocol = Literal["any", "merged"]
MIN_IOU = 0.5


class PhraseRanking(NamedTuple):
    """One phrase: candidate boxes from best to worst (R, 4), its annotated boxes, its types, and its picture."""

    ranked_boxes: np.ndarray | Sequence[Sequence[float]]
    gold_boxes: np.ndarray | Sequence[Sequence[float]]
    types: Sequence[str] = ()
    image_id: str = ""


def grounding_scores(
    rankings: Sequence[PhraseRanking], *, protocol: BoxProtocol = "any", ks: Sequence[int] = (1, 5, 10)
) -> dict[str, float]:
    """Percent, flat: recall@K, upper_bound, and recall@1/TYPE (the first of `ks`) for every type of phrase."""
    return grounding_items(rankings, protocol=protocol, ks=ks).scores()


def grounding_items(
    rankings: Sequence[PhraseRanking], *, protocol: BoxProtocol = "any", ks: Sequence[int] = (1, 5, 10)
) -> ItemScores:
    """The rank of every phrase that is asked, grouped by picture, and the scores made of them (`grounding_scores`).

    upper_bound: share of phrases that any candidate finds. A phrase without candidates is asked and missed.
    Raises DataError if no phrase has boxes.
    """
    check_ks(ks)
    asked = [ranking for ranking in rankings if len(ranking.gold_boxes)]
    if not asked:
        raise DataError(f"none of {len(rankings)} phrases has annotated boxes: nothing to score")
    ranks = np.array([_rank(ranking, protocol) for ranking in asked])
    place = {image_id: k for k, image_id in enumerate(dict.fromkeys(ranking.image_id for ranking in asked))}
    units = np.array([place[ranking.image_id] for ranking in asked])
    parts = {"all": Part(ranks, units)}
    formulas = {f"recall@{k}": Score(f"recall@{k}", ("all",)) for k in ks}
    formulas["upper_bound"] = Score("found", ("all",))
    for name, members in _members(asked).items():
        parts[name_of_type(name)] = Part(ranks[members], units[members])
        formulas[f"recall@{ks[0]}/{name}"] = Score(f"recall@{ks[0]}", (name_of_type(name),))
    return ItemScores("image", tuple(place), parts, formulas)


def grounding_table(items: ItemScores, *, ks: Sequence[int] = (1, 5, 10)) -> dict[str, Any]:
    """recall@K, upper_bound (percent), phrases (how many were asked), and the same in `per_type` for every type.

    items: as `grounding_items` gives them.
    """
    prefix = name_of_type("")
    kinds = {name.removeprefix(prefix): part for name, part in items.parts.items() if name.startswith(prefix)}
    per_type = {name: _recalls(part.values, ks) for name, part in kinds.items()}
    return {**_recalls(items.parts["all"].values, ks), "per_type": per_type}


def name_of_type(name: str) -> str:
    """What the phrases of one type are called among the parts of items."""
    return f"type/{name}"


def _members(rankings: Sequence[PhraseRanking]) -> dict[str, list[int]]:
    """Type → places of its phrases, by the alphabet; a phrase is in each of its types once."""
    found: dict[str, list[int]] = {}
    for place, ranking in enumerate(rankings):
        for name in dict.fromkeys(ranking.types):
            found.setdefault(name, []).append(place)
    return dict(sorted(found.items()))


def correct_regions(
    boxes: np.ndarray | Sequence[Sequence[float]],
    gold_boxes: np.ndarray | Sequence[Sequence[float]],
    *,
    protocol: BoxProtocol = "any",
    min_iou: float = MIN_IOU,
) -> np.ndarray:
    """(R,) bool: which of `boxes` (R, 4) find a phrase with `gold_boxes` (G, 4); nothing does if G is 0."""
    found, gold = as_boxes(boxes), as_boxes(gold_boxes)
    if protocol not in ("any", "merged"):
        raise DataError(f"unknown box protocol {protocol!r}: choose any or merged")
    if not len(found) or not len(gold):
        return np.zeros(len(found), bool)
    if protocol == "merged":
        gold = np.concatenate([gold[:, :2].min(0), gold[:, 2:].max(0)])[None]
    return np.asarray((box_iou(found, gold) >= min_iou).any(axis=1))


def box_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(A, B) intersection over union of x1 y1 x2 y2 boxes, sides measured without +1; 0 where both have no area."""
    a, b = a[:, None, :], b[None, :, :]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])  # (A, B, 2)
    shared = np.clip(sides, 0, None).prod(-1)
    union = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def as_boxes(boxes: np.ndarray | Sequence[Sequence[float]]) -> np.ndarray:
    """(N, 4) float64. Raises DataError for other shapes, NaN, infinity, or x2 < x1, y2 < y1."""
    try:
        found = np.asarray(boxes, np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"boxes: expected rows of four numbers x1 y1 x2 y2: {error}") from error
    found = found.reshape(0, 4) if found.size == 0 else found
    if found.ndim != 2 or found.shape[1] != 4:
        raise DataError(f"boxes: expected shape (number, 4), found {found.shape}")
    wrong = np.flatnonzero(~np.isfinite(found).all(1) | (found[:, 2:] < found[:, :2]).any(1))
    if len(wrong):
        raise DataError(f"box {wrong[0]}: expected finite x1 ≤ x2 and y1 ≤ y2, found {found[wrong[0]].tolist()}")
    return found


def _rank(ranking: PhraseRanking, protocol: BoxProtocol) -> float:
    """Place of the first box that finds the phrase, from 0; infinity if none does."""
    hits = correct_regions(ranking.ranked_boxes, ranking.gold_boxes, protocol=protocol)
    return float(hits.argmax()) if hits.any() else np.inf


def _recalls(ranks: np.ndarray, ks: Sequence[int]) -> dict[str, Any]:
    recalls = {f"recall@{k}": 100 * np.count_nonzero(ranks < k) / len(ranks) for k in ks}
    return {**recalls, "upper_bound": 100 * np.count_nonzero(np.isfinite(ranks)) / len(ranks), "phrases": len(ranks)}
