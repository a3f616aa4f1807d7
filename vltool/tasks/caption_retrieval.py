"""Caption retrieval: is this sentence about this picture (section 3.3.1 of the paper, equation 7).

Training rows are the true pair and, for each of `negatives`, the picture with another caption of the batch and
the caption with another picture of the batch; a negative never shares the picture of the positive. The paper is
silent on negatives: see docs/decisions/retrieval_negatives.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from vltool.datasets.records import CaptionRecord
from vltool.errors import DataError
from vltool.metrics.ignorance import chance_recall
from vltool.metrics.item_scores import ItemScores
from vltool.metrics.recall import retrieval_items
from vltool.structures import Batch, Example
from vltool.tasks.task import RowView, Scores, Task

if TYPE_CHECKING:
    from torch import Tensor, nn

    from vltool.models.encoder import Encoder


class CaptionRetrieval(Task[CaptionRecord]):
    scoring = "all_pairs"
    main_metric = "rsum"

    @dataclass(frozen=True)
    class Options:
        """negatives: of each kind, per true pair. loss: logistic on every pair, or a softmax over a pair's rivals.

        fold_images: where a split has more pictures, it is scored in consecutive folds of so many, averaged (COCO 1K:
        1000), and as a whole under names that begin with `whole.`; 0: always as a whole.
        """

        negatives: int = 2
        loss: Literal["logistic", "softmax"] = "logistic"
        fold_images: Annotated[int, Field(ge=0)] = 0

    def example(self, record: CaptionRecord) -> Example:
        return Example(record.caption_id, ((record.image_id, record.text),), None)

    def build_decoder(self, encoder: Encoder, *, dropout: float) -> nn.Module:
        from vltool.models.decoders.matching import MatchingDecoder

        return MatchingDecoder(encoder.text_width, encoder.image_width, dropout=dropout)

    def pair_rows(self, images: np.ndarray, sentences: np.ndarray, generator: np.random.Generator | None) -> np.ndarray:
        rows = super().pair_rows(images, sentences, generator)
        if generator is None or self.options.negatives == 0 or len(np.unique(images)) < 2:
            return rows
        others = np.stack([draw_others(images, generator) for _ in range(2 * self.options.negatives)])
        for k, other in enumerate(others):
            own_image = k % 2 == 0  # the picture with another caption, or the caption with another picture
            pair = (images, sentences[other]) if own_image else (images[other], sentences)
            rows = np.concatenate([rows, np.stack(pair, axis=-1)[:, None, :]], axis=1)
        return rows

    def tensors(
        self, examples: Sequence[Example], rows: Sequence[RowView], num_rows: int
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        import torch

        relevance = torch.zeros(len(examples), num_rows)
        relevance[:, 0] = 1.0
        return {}, {"relevance": relevance}

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        import torch.nn.functional as F

        relevance = batch.targets["relevance"]  # (B, rows)
        logits = logits.view_as(relevance)
        if self.options.loss == "softmax":
            return F.cross_entropy(logits, relevance)
        return F.binary_cross_entropy_with_logits(logits, relevance)

    def pair_items(self, scores: np.ndarray, caption_image: np.ndarray, image_ids: Sequence[str]) -> ItemScores:
        folds = self._folds(len(image_ids))
        items = retrieval_items(scores, caption_image, folds=folds, image_ids=image_ids)
        if folds == 1:
            return items
        return items.beside(retrieval_items(scores, caption_image, image_ids=image_ids), prefix="whole.")

    def rules(self) -> dict[str, Any]:
        folds = {"fold_images": self.options.fold_images} if self.options.fold_images else {}
        return {"ties": "against", **folds}

    def _folds(self, num_images: int) -> int:
        size = self.options.fold_images
        if not size or num_images <= size:
            return 1
        if num_images % size:
            raise DataError(
                f"tasks.{self.name}.options.fold_images: {num_images:,} pictures do not fall into folds of {size:,}"
            )
        return int(num_images // size)

    def check_asked(self, split: str, examples: Sequence[Example]) -> None:
        self._folds(len({example.rows[0][0] for example in examples}))

    def ignorance(self, split_examples: Sequence[Example], train_examples: Sequence[Example], rows: Any) -> Scores:
        image_ids = [example.rows[0][0] for example in split_examples]
        index = {image_id: k for k, image_id in enumerate(dict.fromkeys(image_ids))}
        rows = np.array([index[image_id] for image_id in image_ids])
        folds = self._folds(len(index))
        found = _chance(rows, len(index), folds)
        return found if folds == 1 else {**found, **{f"whole.{k}": v for k, v in _chance(rows, len(index), 1).items()}}


def _chance(caption_image: np.ndarray, num_images: int, folds: int) -> Scores:
    found = chance_recall(caption_image, num_images=num_images, folds=folds)
    flat = {f"{way}.{name}": value for way, scores in found.items() for name, value in scores.items()}
    return {**flat, "rsum": sum(flat.values())}


def draw_others(images: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """(B,): for each example another one of the batch that has another picture, each equally likely.

    images (B,) holds at least two different pictures.
    """
    different = images[:, None] != images[None, :]  # (B, B)
    rank = (generator.random(len(images)) * different.sum(axis=1)).astype(np.int64)  # the how-manieth other
    return (np.cumsum(different, axis=1) > rank[:, None]).argmax(axis=1)
