"""Caption retrieval both ways: Recall@K, median and mean rank.

A picture's rank is that of the best of its own captions; a caption's that of its picture. Everything scored as high
as the right item counts as ranked before it, so a tie counts against us. Definition: Karpathy and Fei-Fei 2015,
section 4.2; arithmetic of ranks as in evaluation.py of kuanghuei/SCAN at 8063557 (median rank is rounded down).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from vltool.errors import DataError

_BLOCK_ENTRIES = 4_000_000


def retrieval_scores(
    scores: np.ndarray, caption_image: np.ndarray, *, ks: Sequence[int] = (1, 5, 10), folds: int = 1
) -> dict[str, Any]:
    """`image_to_text` and `text_to_image`, each with recall@K in percent, median_rank and mean_rank; and `rsum`.

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
    parts = []
    for first, last in fold_bounds(len(scores), folds):
        columns = np.flatnonzero((caption_image >= first) & (caption_image < last))
        ranks = retrieval_ranks(scores[first:last], caption_image[columns] - first, columns=columns)
        parts.append([_summary(found, ks) for found in ranks])
    image_to_text, text_to_image = (
        {name: float(np.mean([part[way][name] for part in parts])) for name in parts[0][way]} for way in (0, 1)
    )
    rsum = sum(found[f"recall@{k}"] for found in (image_to_text, text_to_image) for k in ks)
    return {"image_to_text": image_to_text, "text_to_image": text_to_image, "rsum": rsum}


def retrieval_ranks(
    scores: np.ndarray, caption_image: np.ndarray, *, columns: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(I,) rank of each picture's best own caption among all, and (C,) rank of each caption's picture; from 0.

    columns: (C,) the columns of `scores` to use, if not all. Read twice, one block of rows at a time.
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
    # Own captions as good as the best one are no rivals, nor is a caption's own picture.
    own_at_best = np.bincount(caption_image, own == best[caption_image], num_images).astype(np.int64)
    image_ranks = -own_at_best
    caption_ranks = np.full(num_captions, -1, np.int64)
    for rows, block in _blocks(scores, columns):
        image_ranks[rows] += np.count_nonzero(block >= best[rows, None], axis=1)
        caption_ranks += np.count_nonzero(block >= own, axis=0)
    return image_ranks, caption_ranks


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
    whole = columns is None or len(columns) == scores.shape[1]
    for first in range(0, len(scores), step):
        rows = slice(first, min(first + step, len(scores)))
        block = np.asarray(scores[rows], number_type)
        yield rows, block if whole else block[:, columns]


def _number_type(scores: np.ndarray) -> np.dtype:
    """Scores are compared in their own precision; whole numbers as float64. Raises DataError if they are no numbers."""
    if scores.dtype.kind not in "fiu":
        raise DataError(f"scores: expected numbers, found {scores.dtype}")
    return scores.dtype if scores.dtype.kind == "f" else np.dtype(np.float64)


def _summary(ranks: np.ndarray, ks: Sequence[int]) -> dict[str, float]:
    recalls = {f"recall@{k}": 100 * np.count_nonzero(ranks < k) / len(ranks) for k in ks}
    return {**recalls, "median_rank": float(np.floor(np.median(ranks)) + 1), "mean_rank": float(ranks.mean() + 1)}
