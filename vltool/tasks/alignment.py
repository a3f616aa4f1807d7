"""Alignment: does this caption belong to this picture, both partly hidden (ViLBERT; 12-in-1, section 3.1).

Training rows are the true pair and the picture with captions of other pictures of the batch, drawn at random. On
validation data nothing is hidden and every caption meets every picture, as in retrieval.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import PositiveInt

from vltool.errors import DataError
from vltool.structures import Batch
from vltool.tasks.caption_retrieval import CaptionRetrieval, draw_others, wrong_pairs
from vltool.tasks.masking import hide
from vltool.training_config import Share

if TYPE_CHECKING:
    from vltool.text.words import Words


class Alignment(CaptionRetrieval):
    words: Words | None = None

    @dataclass(frozen=True)
    class Options(CaptionRetrieval.Options):
        """negatives: captions of other pictures, for each true pair. word_share, region_share: how many words and
        regions are hidden in training. The others: as in caption retrieval."""

        negatives: PositiveInt = 1
        negatives_kind: Literal["random"] = "random"
        word_share: Share = 0.15
        region_share: Share = 0.15

    def learn_words(self, words: Words) -> None:
        self.words = words

    def pair_rows(self, images: np.ndarray, sentences: np.ndarray, generator: np.random.Generator | None) -> np.ndarray:
        rows = np.stack([images, sentences], axis=-1)[:, None]  # (B, 1, 2)
        wrong = wrong_pairs(images, sentences)
        if generator is None or not wrong.any(axis=1).all():
            return rows
        others = [sentences[draw_others(wrong, generator)] for _ in range(self.options.negatives)]
        return np.concatenate([rows, *(np.stack([images, other], axis=-1)[:, None] for other in others)], axis=1)

    def disguise(self, batch: Batch, generator: np.random.Generator | None) -> Batch:
        if generator is None:
            return batch
        if self.words is None:
            raise DataError(f"tasks.{self.name}: the vocabulary is not built yet. Run: vltool embed-text CONFIG")
        shares = {"word_share": self.options.word_share, "region_share": self.options.region_share}
        return hide(batch, self.words, generator, **shares).batch
