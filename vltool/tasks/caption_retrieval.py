"""Caption retrieval: is this sentence about this picture (section 3.3.1 of the paper, equation 7).

Training rows are the true pair and, for each of `negatives`, the picture with another caption of the batch and
the caption with another picture of the batch; a negative never shares the picture of the positive. The paper is
silent on negatives: see docs/decisions/retrieval_negatives.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from vltool.datasets.records import CaptionRecord
from vltool.metrics.ignorance import chance_recall
from vltool.metrics.recall import retrieval_scores
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
        """negatives: of each kind, per true pair. loss: logistic on every pair, or a softmax over a pair's rivals."""

        negatives: int = 2
        loss: Literal["logistic", "softmax"] = "logistic"

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

    def pair_metrics(self, scores: np.ndarray, caption_image: np.ndarray) -> Scores:
        found = retrieval_scores(scores, caption_image)
        flat: Scores = {}
        for direction in ("image_to_text", "text_to_image"):
            for name, value in found[direction].items():
                flat[f"{direction}.{name}"] = value
        return {**flat, "rsum": found["rsum"]}

    def ignorance(self, split_examples: Sequence[Example], train_examples: Sequence[Example], rows: Any) -> Scores:
        image_ids = [example.rows[0][0] for example in split_examples]
        index = {image_id: k for k, image_id in enumerate(dict.fromkeys(image_ids))}
        found = chance_recall(np.array([index[image_id] for image_id in image_ids]), num_images=len(index))
        flat = {f"{way}.{name}": value for way, scores in found.items() for name, value in scores.items()}
        return {**flat, "rsum": sum(flat.values())}


def draw_others(images: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """(B,): for each example another one of the batch that has another picture, each equally likely.

    images (B,) holds at least two different pictures.
    """
    different = images[:, None] != images[None, :]  # (B, B)
    rank = (generator.random(len(images)) * different.sum(axis=1)).astype(np.int64)  # the how-manieth other
    return (np.cumsum(different, axis=1) > rank[:, None]).argmax(axis=1)
