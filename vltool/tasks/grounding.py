"""Visual grounding: which regions does each phrase of a caption name (section 3.3.3, equations 9 and 10).

A region is a target if its IoU with an annotated box of the phrase is at least 0.5 (`boxes: any`) or with the
smallest box around all of them (`boxes: merged`). Scene phrases and phrases without boxes are not asked, nor captions
that the dataset lists as unrelated to their picture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from vltool.datasets.records import GroundedCaption, Phrase
from vltool.metrics.ignorance import random_region_recall
from vltool.metrics.item_scores import ItemScores
from vltool.metrics.localization import MIN_IOU, PhraseRanking, correct_regions, grounding_items
from vltool.structures import Batch, Example
from vltool.tasks.task import Metric, RowView, Scores, Task
from vltool.text.tokenizer import AlignedTokens, align

if TYPE_CHECKING:
    from torch import Tensor, nn

    from vltool.models.encoder import Encoder
    from vltool.text.words import Words


class VisualGrounding(Task[GroundedCaption]):
    main_metric = "recall@1"
    chooses_regions = True
    align: Callable[[Sequence[str]], AlignedTokens] = staticmethod(align)
    """How the dataset's words of a caption fall into tokens: by spaCy's rules, or as `learn_words` has it."""

    @dataclass(frozen=True)
    class Options:
        """boxes: what counts as found when a phrase has several boxes."""

        boxes: Literal["any", "merged"] = "any"

    def example(self, record: GroundedCaption) -> Example:
        sentence = " ".join(record.tokens)
        return Example(f"{record.image_id}#{record.sentence_index}", ((record.image_id, sentence),), record)

    def examples(self, split: str) -> tuple[Example, ...]:
        found = super().examples(split)
        return tuple(example for example in found if asked_phrases(example) and not example.target.is_unrelated)

    def learn_words(self, words: Words) -> None:
        self.align = words.align

    def build_decoder(self, encoder: Encoder, *, dropout: float) -> nn.Module:
        from vltool.models.decoders.grounding import GroundingDecoder

        return GroundingDecoder(encoder.text_width, encoder.image_width)

    def tensors(
        self, examples: Sequence[Example], rows: Sequence[RowView], num_rows: int
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        import torch

        asked = [asked_phrases(example) for example in examples]
        num_phrases = max(map(len, asked))
        num_regions = max(row.regions.num_regions for row in rows)
        spans = torch.zeros(len(examples), num_phrases, 2, dtype=torch.long)
        mask = torch.zeros(len(examples), num_phrases, dtype=torch.bool)
        correct = torch.zeros(len(examples), num_phrases, num_regions)
        for b, (example, phrases, row) in enumerate(zip(examples, asked, rows, strict=True)):
            aligned = self.align(example.target.tokens)
            for p, phrase in enumerate(phrases):
                spans[b, p] = torch.tensor(aligned.span(phrase.first_word, phrase.num_words))
                mask[b, p] = True
                hits = correct_regions(row.regions.boxes, phrase.boxes, protocol=self.options.boxes)
                correct[b, p, : len(hits)] = torch.from_numpy(hits.astype(np.float32))
        return {"phrase_spans": spans, "phrase_mask": mask}, {"correct": correct}

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        import torch.nn.functional as F

        correct = batch.targets["correct"]  # (B, P, R)
        regions = batch.region_mask[batch.rows[:, 0]]  # (B, R)
        asked = batch.inputs["phrase_mask"][:, :, None] & regions[:, None, :]
        losses = F.binary_cross_entropy_with_logits(logits[:, :, : correct.shape[-1]], correct, reduction="none")
        return (losses * asked).sum() / batch.inputs["phrase_mask"].sum()

    def loss_terms(self, batch: Batch) -> int:
        return int(batch.inputs["phrase_mask"].sum())

    def new_metric(self) -> Metric:
        return RecallMetric(self.options.boxes)

    def rules(self) -> dict[str, Any]:
        return {"boxes": self.options.boxes, "min_iou": MIN_IOU}

    def ignorance(
        self,
        split_examples: Sequence[Example],
        train_examples: Sequence[Example],
        rows: Callable[[Example], RowView],
    ) -> Scores:
        found, totals = [], []
        for example in split_examples:
            boxes = rows(example).regions.boxes
            for phrase in asked_phrases(example):
                hits = correct_regions(boxes, phrase.boxes, protocol=self.options.boxes)
                found.append(int(hits.sum()))
                totals.append(len(boxes))
        return random_region_recall(np.array(found), np.array(totals))


class RecallMetric(Metric):
    """Recall@K over phrases, the upper bound of the candidate regions, and Recall@1 per phrase type."""

    def __init__(self, protocol: Literal["any", "merged"]):
        self.protocol: Literal["any", "merged"] = protocol
        self.rankings: list[PhraseRanking] = []
        self.listed: list[dict[str, Any]] = []
        self._items: ItemScores | None = None

    def update(self, logits: Tensor, batch: Batch, examples: Sequence[Example], rows: Sequence[RowView]) -> None:
        self._items = None
        for place, (example, row) in enumerate(zip(examples, rows, strict=True)):
            scores = logits[place, :, : row.regions.num_regions].float().cpu().numpy()
            numbers = {id(phrase): k for k, phrase in enumerate(example.target.phrases)}
            for phrase, phrase_scores in zip(asked_phrases(example), scores, strict=False):
                ranked = row.regions.boxes[np.argsort(-phrase_scores, kind="stable")]
                self.rankings.append(PhraseRanking(ranked, phrase.boxes, phrase.types, example.target.image_id))
                self.listed.append(
                    {
                        "image_id": example.target.image_id,
                        "sentence": example.target.sentence_index,
                        "phrase": numbers[id(phrase)],
                        "boxes": ranked.tolist(),  # all of them, and every digit: the file gives the same scores
                    }
                )

    def extend(self, other: RecallMetric) -> None:
        self._items = None
        self.rankings += other.rankings
        self.listed += other.listed

    def compute(self) -> Scores:
        return self.items().scores()

    def items(self) -> ItemScores:
        if self._items is None:
            self._items = grounding_items(self.rankings, protocol=self.protocol)
        return self._items

    def predictions(self) -> list[dict[str, Any]]:
        return self.listed


def asked_phrases(example: Example) -> tuple[Phrase, ...]:
    """The phrases of a grounded caption that have boxes."""
    return tuple(phrase for phrase in example.target.phrases if phrase.boxes)
