"""What pre-training hides from the encoder: words of sentences and regions of pictures (ViLBERT, 12-in-1).

Words: each with probability `share`, at least one a sentence; of the chosen 80 % become the vocabulary's mask, 10 %
another word, 10 % stay. Regions: each with probability `share`, at least one a picture; the features of 90 % of the
chosen become 0, and so do those of every region that overlaps such a one by an IoU above 0.4, which would give it away.
Those are hidden without being asked for.

In training draws come from the batch's generator; elsewhere from the sentence or picture itself, so that a score does
not depend on how examples fall into batches.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from vltool.metrics.localization import box_iou

if TYPE_CHECKING:
    from vltool.structures import Batch
    from vltool.text.words import Words

BECOME_MASK, BECOME_ANOTHER = 0.8, 0.1
BECOME_ZERO = 0.9
MAX_OVERLAP = 0.4


@dataclass(frozen=True)
class Hidden:
    """A batch with something hidden, and where something was: words (V, T) bool and regions (U, R) bool.

    They are the places whose own content is asked for; the batch before hiding still has it.
    """

    batch: Batch
    words: np.ndarray
    regions: np.ndarray


def hide(
    batch: Batch,
    vocabulary: Words,
    generator: np.random.Generator | None,
    *,
    word_share: float,
    region_share: float,
) -> Hidden:
    """Hide words and regions of every sentence and picture of a batch; a share of 0 hides none."""
    import torch

    tokens, regions = batch.tokens.numpy().copy(), batch.regions.numpy().copy()
    words, asked = np.zeros(tokens.shape, bool), np.zeros(regions.shape[:2], bool)
    for place, length in enumerate(batch.token_mask.sum(dim=1).tolist() if word_share else ()):
        own = tokens[place, :length]
        draw = generator or np.random.default_rng(zlib.crc32(own.tobytes()))
        words[place, :length] = choose_words(own, vocabulary, draw, share=word_share)
        own[:] = disguise_words(own, words[place, :length], vocabulary, draw)
    for place, count in enumerate(batch.region_mask.sum(dim=1).tolist() if region_share else ()):
        draw = generator or np.random.default_rng(zlib.crc32(batch.image_ids[place].encode()))
        asked[place, :count], zeroed = choose_regions(batch.boxes[place, :count, :4].numpy(), draw, share=region_share)
        regions[place, :count][zeroed] = 0
    changed = replace(batch, tokens=torch.from_numpy(tokens), regions=torch.from_numpy(regions))
    return Hidden(changed, words, asked)


def choose_words(
    token_ids: np.ndarray, vocabulary: Words, generator: np.random.Generator, *, share: float
) -> np.ndarray:
    """(T,) bool: the words to be asked for. Unknown ones are taken only where a sentence has no others."""
    may = ~np.isin(token_ids, vocabulary.special_rows) & (token_ids < len(vocabulary))
    known = may & (token_ids != vocabulary.unknown_row)
    return at_least_one(known if known.any() else may, generator, share=share)


def disguise_words(
    token_ids: np.ndarray, chosen: np.ndarray, vocabulary: Words, generator: np.random.Generator
) -> np.ndarray:
    """(T,) the token ids with the chosen ones masked (80 %), another word (10 %) or as they were."""
    draw = generator.random(len(token_ids))
    others = generator.integers(len(vocabulary.word_rows), size=len(token_ids))
    masked = np.where(draw < BECOME_MASK, vocabulary.mask_row, vocabulary.word_rows[others])
    return np.where(chosen & (draw < BECOME_MASK + BECOME_ANOTHER), masked, token_ids)


def choose_regions(boxes: np.ndarray, generator: np.random.Generator, *, share: float) -> tuple[np.ndarray, np.ndarray]:
    """(R,) bool each: the regions to be asked for, and those whose features are to become 0.

    boxes (R, 4): x1 y1 x2 y2, each axis in any unit.
    """
    asked = at_least_one(np.ones(len(boxes), bool), generator, share=share)
    zeroed = asked & (generator.random(len(boxes)) < BECOME_ZERO)
    overlapping = (box_iou(boxes, boxes[zeroed]) > MAX_OVERLAP).any(axis=1)
    return asked, zeroed | overlapping


def at_least_one(may: np.ndarray, generator: np.random.Generator, *, share: float) -> np.ndarray:
    """(N,) bool: each that may be with probability `share`; one of them where none was drawn, if there is any."""
    draw = np.where(may, generator.random(len(may)), 2.0)
    chosen = draw < share
    if not chosen.any() and may.any():
        chosen[draw.argmin()] = True
    return chosen


def places_of(chosen: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Where rows of bool are true: places (B, M) int64, padded with 0, and which of them are real (B, M) bool."""
    found = [np.flatnonzero(row) for row in chosen]
    most = max(1, max(map(len, found)))
    places, real = np.zeros((len(found), most), np.int64), np.zeros((len(found), most), bool)
    for row, own in enumerate(found):
        places[row, : len(own)], real[row, : len(own)] = own, True
    return places, real
