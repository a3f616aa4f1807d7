"""Caption retrieval: is this sentence about this picture (section 3.3.1 of the paper, equation 7).

Training rows are the true pair and, for each of `negatives`, the picture with another caption of the batch and
the caption with another picture of the batch; a negative is never a true pair itself. They are drawn at random, or
are the hardest of `pool` that are. The paper is silent on negatives: see docs/decisions/retrieval_negatives.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import NonNegativeInt, PositiveInt

from vltool.datasets.records import CaptionRecord
from vltool.errors import DataError
from vltool.metrics.ignorance import chance_recall
from vltool.metrics.item_scores import ItemScores
from vltool.metrics.recall import retrieval_items
from vltool.structures import Batch, Example, ImageId
from vltool.tasks.near_pictures import NearPictures
from vltool.tasks.task import RowView, Scores, Task

if TYPE_CHECKING:
    from torch import Tensor, nn

    from vltool.models.encoder import Encoder
    from vltool.tasks.region_source import RegionSource


class CaptionRetrieval(Task[CaptionRecord]):
    scoring = "all_pairs"
    main_metric = "rsum"
    averaged_metric = "text_to_image.recall@1"

    @dataclass(frozen=True)
    class Options:
        """What a configuration may say about this task.

        negatives: of each kind, per true pair. negatives_kind: drawn at random, or the best-scored of `pool` drawn
        ones. near_pictures: where above 0, a further negative is the picture with a caption of one of so many training
        pictures that look most like it. loss: logistic on every pair, or a softmax over a pair's rivals. 12-in-1's
        four pairs: negatives 1, near_pictures 100, loss softmax. num_score_maps: K of equation 5.
        summary_hidden_width: hidden units of the summary networks; None is d. fold_images: where a split has more
        pictures, it is scored in consecutive folds of so many, averaged (COCO 1K: 1000), and as a whole under names
        that begin with `whole.`; 0: always as a whole.
        """

        negatives: NonNegativeInt = 2
        negatives_kind: Literal["random", "hard"] = "random"
        pool: PositiveInt = 8
        near_pictures: NonNegativeInt = 0
        loss: Literal["logistic", "softmax"] = "logistic"
        num_score_maps: PositiveInt = 4
        summary_hidden_width: PositiveInt | None = None
        fold_images: NonNegativeInt = 0

    near: NearPictures | None = None

    def example(self, record: CaptionRecord) -> Example:
        return Example(record.caption_id, ((record.image_id, record.text),), None)

    def build_decoder(self, encoder: Encoder, *, dropout: float) -> nn.Module:
        from vltool.models.decoders.matching import MatchingDecoder

        summary = encoder.build_summary(
            num_maps=self.options.num_score_maps, hidden_width=self.options.summary_hidden_width, dropout=dropout
        )
        return MatchingDecoder(summary, encoder.build_comparison(summary, dropout=dropout))

    def pair_rows(self, images: np.ndarray, sentences: np.ndarray, generator: np.random.Generator | None) -> np.ndarray:
        rows = super().pair_rows(images, sentences, generator)
        wrong = wrong_pairs(images, sentences)  # (B, B)
        if generator is None or self.options.negatives == 0 or not (wrong.any(axis=0) & wrong.any(axis=1)).all():
            return rows
        if self.options.negatives_kind == "hard":
            captions, pictures = self._candidates(wrong, images, sentences, generator)  # (B, pool) each
        else:
            # Captions and pictures in turn, each by a draw of its own.
            drawn = [draw_others(wrong.T if k % 2 else wrong, generator) for k in range(2 * self.options.negatives)]
            captions, pictures = np.stack(drawn[::2], axis=1), np.stack(drawn[1::2], axis=1)
        pairs = np.stack(
            [
                np.stack(np.broadcast_arrays(images[:, None], sentences[captions]), axis=-1),
                np.stack(np.broadcast_arrays(images[pictures], sentences[:, None]), axis=-1),
            ],
            axis=2,
        )  # (B, negatives, 2 kinds, 2)
        return np.concatenate([rows, pairs.reshape(len(rows), -1, 2)], axis=1)

    def prepare_training(self, examples: Sequence[Example], regions: RegionSource) -> None:
        if self.options.near_pictures and (self.near is None or self.near.examples is not examples):
            self.near = NearPictures(examples, regions, count=self.options.near_pictures)

    def further_rows(
        self, examples: Sequence[Example], generator: np.random.Generator
    ) -> list[tuple[tuple[ImageId, str], ...]]:
        if not self.options.near_pictures:
            return []
        assert self.near is not None, "prepare_training comes before the first batch"
        pictures = [example.rows[0][0] for example in examples]
        return [((image_id, self.near.caption(image_id, generator)),) for image_id in pictures]

    def _candidates(
        self, wrong: np.ndarray, images: np.ndarray, sentences: np.ndarray, generator: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Other captions and other pictures of each example, no caption or picture twice: (B, pool) each, or fewer."""
        allowed = wrong & first_of_each(sentences), wrong.T & first_of_each(images)
        pool = min(self.options.pool, *(int(kind.sum(axis=1).min()) for kind in allowed))
        captions, pictures = (draw_several(kind, pool, generator) for kind in allowed)
        return captions, pictures

    def choose_rows(self, batch: Batch, score: Callable[[Tensor], Tensor]) -> Batch:
        """With hard negatives, the true pairs and, of each kind, the candidates that the network scores best."""
        import torch

        rows = batch.rows.view(batch.num_examples, -1, 2)
        further = rows[:, rows.shape[1] - bool(self.options.near_pictures) :]
        candidates = rows[:, 1 : rows.shape[1] - further.shape[1]]
        if self.options.negatives_kind != "hard" or candidates.shape[1] == 0:
            return batch
        scores = score(candidates.flatten(0, 1)).view(batch.num_examples, -1, 2)  # (B, pool, kinds)
        best = scores.argsort(dim=1, descending=True, stable=True)[:, : self.options.negatives]
        by_kind = candidates.unflatten(1, (-1, 2))  # (B, pool, kinds, 2)
        hardest = by_kind.gather(1, best[..., None].expand(-1, -1, -1, 2)).flatten(1, 2)
        chosen = torch.cat([rows[:, :1], hardest, further], dim=1)
        relevance = batch.targets["relevance"][:, : chosen.shape[1]]
        return replace(batch, rows=chosen.flatten(0, 1), targets={**batch.targets, "relevance": relevance})

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


def wrong_pairs(images: np.ndarray, sentences: np.ndarray) -> np.ndarray:
    """(B, B) bool: whether the sentence of example j is no caption of the picture of example i, in this batch."""
    true = np.zeros((images.max() + 1, sentences.max() + 1), dtype=bool)
    true[images, sentences] = True
    return ~true[images[:, None], sentences[None, :]]


def first_of_each(values: np.ndarray) -> np.ndarray:
    """(B,) bool: whether this is the first place of its value."""
    first = np.zeros(len(values), dtype=bool)
    first[np.unique(values, return_index=True)[1]] = True
    return first


def draw_others(allowed: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """(B,): for each example another one that is allowed to it, each equally likely. allowed (B, B): at least one."""
    rank = (generator.random(len(allowed)) * allowed.sum(axis=1)).astype(np.int64)  # the how-manieth of them
    return (np.cumsum(allowed, axis=1) > rank[:, None]).argmax(axis=1)


def draw_several(allowed: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """(B, count): for each example different others of those allowed to it, each choice equally likely."""
    order = np.where(allowed, generator.random(allowed.shape), 2.0)
    return order.argsort(axis=1, kind="stable")[:, :count]
