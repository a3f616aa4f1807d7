"""Caption retrieval both ways: Recall@K, median and mean rank.

A picture's rank is that of the best of its own captions; a caption's that of its picture. Definition: Karpathy and
Fei-Fei 2015, section 4.2; arithmetic of ranks as in evaluation.py of kuanghuei/SCAN at 8063557 (median rank is rounded
down). What is scored as high as the right item, a tie, is counted in one of two ways:
against  it ranks before the right item, so that a model that scores everything alike finds nothing
scan     as in that script, which sorts and reverses: of equal scores the later column or row ranks first; the first
         five captions of each picture count, and every picture has five
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from vltool.errors import DataError
from vltool.metrics.item_scores import ItemScores, Part, Score

Ties = Literal["against", "scan"]
WAYS = ("image_to_text", "text_to_image")
SCAN_CAPTIONS = 5
_BLOCK_ENTRIES = 4_000_000


def retrieval_scores(
    scores: np.ndarray,
    caption_image: np.ndarray,
    *,
    ks: Sequence[int] = (1, 5, 10),
    folds: int = 1,
    ties: Ties = "against",
) -> dict[str, Any]:
    """`image_to_text` and `text_to_image`, each with recall@K in percent, median_rank and mean_rank; and `rsum`.

    The arguments are those of `retrieval_items`. Raises DataError.
    """
    return nested(retrieval_items(scores, caption_image, ks=ks, folds=folds, ties=ties).scores())


def retrieval_items(
    scores: np.ndarray,
    caption_image: np.ndarray,
    *,
    ks: Sequence[int] = (1, 5, 10),
    folds: int = 1,
    ties: Ties = "against",
    image_ids: Sequence[str] | None = None,
) -> ItemScores:
    """The rank of every picture and caption, and the scores made of them: image_to_text.recall@1 …, rsum.

    scores: (I, C), higher is better; rows may be read one block at a time (a memory map will do).
    caption_image: (C,) the row of each caption's picture; every picture has at least one caption.
    folds: the pictures are cut into that many consecutive parts of one size, each part is scored on its own and the
    scores are averaged: COCO's 1K result is 5 folds of the 5K test. A K beyond the number of candidates finds all.
    Raises DataError for shapes that do not fit, NaN, pictures without captions, or folds of unequal size.
    """
    caption_image = check_caption_image(caption_image, num_images=len(scores))
    if scores.ndim != 2 or scores.shape[1] != len(caption_image):
        raise DataError(f"scores have shape {scores.shape}: expected (images, {len(caption_image)} captions)")
    check_ks(ks)
    if ties not in ("against", "scan"):
        raise DataError(f"unknown way to count ties {ties!r}: choose against or scan")
    used = scan_columns(caption_image) if ties == "scan" else np.arange(len(caption_image))
    parts: dict[str, Part] = {}
    bounds = fold_bounds(len(scores), folds)
    for fold, (first, last) in enumerate(bounds):
        columns = used[(caption_image[used] >= first) & (caption_image[used] < last)]
        rows = caption_image[columns]
        ranks = retrieval_ranks(scores[first:last], rows - first, columns=columns, ties=ties)
        for way, found, units in zip(WAYS, ranks, (np.arange(first, last), rows), strict=True):
            parts[f"{way}/{fold}"] = Part(found.astype(np.float64), units)
    ids = tuple(image_ids) if image_ids is not None else tuple(map(str, range(len(scores))))
    return ItemScores("image", ids, parts, _formulas(ks, folds), strata=(bounds[0][1],) * folds)


def _formulas(ks: Sequence[int], folds: int) -> dict[str, Score]:
    found = {}
    for way in WAYS:
        parts = tuple(f"{way}/{fold}" for fold in range(folds))
        for statistic in (*(f"recall@{k}" for k in ks), "median_rank", "mean_rank"):
            found[f"{way}.{statistic}"] = Score(statistic, parts)
    found["rsum"] = Score("sum", tuple(f"{way}.recall@{k}" for way in WAYS for k in ks))
    return found


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """{"image_to_text.recall@1": …} as {"image_to_text": {"recall@1": …}}; names without a point stay."""
    found: dict[str, Any] = {}
    for name, value in flat.items():
        way, point, metric = name.partition(".")
        if point:
            found.setdefault(way, {})[metric] = value
        else:
            found[name] = value
    return found


def retrieval_ranks(
    scores: np.ndarray, caption_image: np.ndarray, *, columns: np.ndarray | None = None, ties: Ties = "against"
) -> tuple[np.ndarray, np.ndarray]:
    """(I,) rank of each picture's best own caption among all, and (C,) rank of each caption's picture; from 0.

    columns: (C,) the columns of `scores` to use, in this order, if not all. Read twice, one block of rows at a time.
    """
    num_images, num_captions = len(scores), len(caption_image)
    own = np.empty(num_captions, _number_type(scores))  # score of each caption with its own picture
    for rows, block in _blocks(scores, columns):
        if np.isnan(block).any():
            row, column = np.argwhere(np.isnan(block))[0]
            column = column if columns is None else columns[column]
            raise DataError(f"scores: row {rows.start + row}, column {column} is not a number")
        inside = np.flatnonzero((caption_image >= rows.start) & (caption_image < rows.stop))
        own[inside] = block[caption_image[inside] - rows.start, inside]
    best = np.full(num_images, -np.inf, own.dtype)
    np.maximum.at(best, caption_image, own)
    if ties == "scan":
        return _ranks_with_later_first(scores, caption_image, columns, own, best)
    # Own captions as good as the best one are no rivals, nor is a caption's own picture.
    own_at_best = np.bincount(caption_image, own == best[caption_image], num_images).astype(np.int64)
    image_ranks = -own_at_best
    caption_ranks = np.full(num_captions, -1, np.int64)
    for rows, block in _blocks(scores, columns):
        image_ranks[rows] += np.count_nonzero(block >= best[rows, None], axis=1)
        caption_ranks += np.count_nonzero(block >= own, axis=0)
    return image_ranks, caption_ranks


def _ranks_with_later_first(
    scores: np.ndarray, caption_image: np.ndarray, columns: np.ndarray | None, own: np.ndarray, best: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The ranks where of equal scores the one with the larger index ranks first."""
    at_best = np.flatnonzero(own == best[caption_image])
    last_own = np.zeros(len(best), np.int64)  # the last of a picture's own captions that are as good as its best
    np.maximum.at(last_own, caption_image[at_best], at_best)
    image_ranks, caption_ranks = np.zeros(len(best), np.int64), np.zeros(len(own), np.int64)
    places = np.arange(len(own))
    for rows, block in _blocks(scores, columns):
        limit = best[rows, None]
        image_ranks[rows] = np.count_nonzero(block > limit, axis=1)
        image_ranks[rows] += np.count_nonzero((block == limit) & (places > last_own[rows, None]), axis=1)
        later = np.arange(rows.start, rows.stop)[:, None] > caption_image
        caption_ranks += np.count_nonzero((block > own) | ((block == own) & later), axis=0)
    return image_ranks, caption_ranks


def scan_columns(caption_image: np.ndarray) -> np.ndarray:
    """The columns of the first five captions of each picture, picture by picture. Raises DataError if one has fewer."""
    counts = np.bincount(caption_image)
    if counts.min() < SCAN_CAPTIONS:
        raise DataError(
            f"ties as in SCAN's script need {SCAN_CAPTIONS} captions of every picture; row {counts.argmin()} has "
            f"{counts.min()}. Count ties against us instead"
        )
    by_image = np.argsort(caption_image, kind="stable")
    place = np.arange(len(by_image)) - np.repeat(np.cumsum(counts) - counts, counts)  # of a caption in its picture's
    return np.asarray(by_image[place < SCAN_CAPTIONS])


def fold_bounds(num_images: int, folds: int) -> list[tuple[int, int]]:
    """[first, last) of each of `folds` consecutive parts of one size. Raises DataError if they cannot be equal."""
    if folds < 1 or num_images % folds:
        raise DataError(f"{num_images} pictures do not fall into {folds} folds of one size")
    size = num_images // folds
    return [(first, first + size) for first in range(0, num_images, size)]


def check_caption_image(caption_image: np.ndarray, *, num_images: int) -> np.ndarray:
    """`caption_image` as (C,) int64. Raises DataError if it is not that, or leaves a picture without captions."""
    found = np.asarray(caption_image)
    if found.ndim != 1 or found.dtype.kind not in "iu" or not len(found):
        raise DataError(f"caption_image: expected one row number a caption, found {found.dtype} of shape {found.shape}")
    if found.min() < 0 or found.max() >= num_images:
        raise DataError(f"caption_image: rows {found.min()} to {found.max()} for {num_images} pictures")
    without = np.flatnonzero(np.bincount(found, minlength=num_images) == 0)
    if len(without):
        raise DataError(f"{len(without)} of {num_images} pictures have no caption, first row {without[0]}")
    return found.astype(np.int64)


def check_ks(ks: Sequence[int]) -> None:
    """Raises DataError for a K below 1 or none at all."""
    if not ks or min(ks) < 1:
        raise DataError(f"recall@K: expected every K ≥ 1, found {list(ks)}")


def _blocks(scores: np.ndarray, columns: np.ndarray | None) -> Iterator[tuple[slice, np.ndarray]]:
    number_type = _number_type(scores)
    step = max(1, _BLOCK_ENTRIES // max(1, scores.shape[1]))
    whole = columns is None or np.array_equal(columns, np.arange(scores.shape[1]))
    for first in range(0, len(scores), step):
        rows = slice(first, min(first + step, len(scores)))
        block = np.asarray(scores[rows], number_type)
        yield rows, block if whole else block[:, columns]


def _number_type(scores: np.ndarray) -> np.dtype:
    """Scores are compared in their own precision; whole numbers as float64. Raises DataError if they are no numbers."""
    if scores.dtype.kind not in "fiu":
        raise DataError(f"scores: expected numbers, found {scores.dtype}")
    return scores.dtype if scores.dtype.kind == "f" else np.dtype(np.float64)
