"""What tasks share that point at one region of a picture for a whole sentence: one logistic output per candidate.

Targets are soft: a candidate's IoU with the annotated box where it is at least 0.5, else 0 (12-in-1's). A subclass says
which regions are candidates, and which of them are right.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import PositiveInt

from vltool.datasets.records import PointingRecord
from vltool.errors import DataError
from vltool.metrics.item_scores import ItemScores
from vltool.metrics.pointing import Pointed, choose, overlaps, pointing_items
from vltool.structures import Batch, Example
from vltool.tasks.given_boxes import GivenBoxes
from vltool.tasks.task import Metric, RowView, Scores, Task

if TYPE_CHECKING:
    from torch import Tensor, nn

    from vltool.models.encoder import Encoder

SOFT_FROM = 0.5


class Pointing(Task[PointingRecord]):
    main_metric = "accuracy"
    chooses_regions = True

    @dataclass(frozen=True)
    class Options:
        """loss: logistic on every candidate, or a softmax over them. Of the sentence's summary, where the encoder has
        one: num_score_maps, K of equation 5, and its hidden width (None: d)."""

        loss: Literal["logistic", "softmax"] = "logistic"
        num_score_maps: PositiveInt = 4
        summary_hidden_width: PositiveInt | None = None

    def example(self, record: PointingRecord) -> Example:
        return Example(record.record_id, ((record.image_id, record.text),), record)

    @abstractmethod
    def candidates(self, example: Example, row: RowView) -> np.ndarray:
        """(C,) the places of its candidates among the regions of the example's row."""

    @abstractmethod
    def right(self, example: Example, row: RowView) -> np.ndarray:
        """(C,) bool: which candidates are right."""

    def given(self, example: Example) -> GivenBoxes:
        """All given boxes of the example's picture."""
        return GivenBoxes(example.target.boxes, example.target.height, example.target.width)

    def overlap(self, example: Example, row: RowView) -> np.ndarray:
        """(C,) IoU of each candidate with the box that is meant."""
        return overlaps(row.regions.boxes[self.candidates(example, row)], self.meant(example, row))

    def meant(self, example: Example, row: RowView) -> np.ndarray:
        """(4,) the box that is meant, in the frame of the row's regions."""
        return self.given(example).scaled(row.regions.height, row.regions.width)[example.target.answer]

    def build_decoder(self, encoder: Encoder, *, dropout: float) -> nn.Module:
        from vltool.models.decoders.pointing import PointingDecoder

        return PointingDecoder(
            encoder.build_region_scores(
                num_maps=self.options.num_score_maps, hidden_width=self.options.summary_hidden_width, dropout=dropout
            )
        )

    def tensors(
        self, examples: Sequence[Example], rows: Sequence[RowView], num_rows: int
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        import torch

        num_regions = max(row.regions.num_regions for row in rows)
        asked = torch.zeros(len(examples), num_regions, dtype=torch.bool)
        overlap = torch.zeros(len(examples), num_regions)
        for place, (example, row) in enumerate(zip(examples, rows, strict=True)):
            found, candidates = self.overlap(example, row), torch.from_numpy(self.candidates(example, row))
            asked[place, candidates] = True
            overlap[place, candidates] = torch.from_numpy(np.where(found >= SOFT_FROM, found, 0)).float()
        return {"candidates": asked}, {"overlap": overlap}

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        import torch
        import torch.nn.functional as F

        overlap, asked = batch.targets["overlap"], batch.inputs["candidates"]  # (B, R)
        logits = logits[:, : overlap.shape[1]]
        if self.options.loss == "logistic":
            losses = F.binary_cross_entropy_with_logits(logits, overlap, reduction="none")
            return (losses * asked).sum() / len(overlap)
        shares = overlap / overlap.sum(dim=1, keepdim=True).clamp(min=torch.finfo(overlap.dtype).tiny)
        scores = logits.masked_fill(~asked, torch.finfo(logits.dtype).min).log_softmax(dim=1)
        return -(shares * scores.masked_fill(~asked, 0)).sum() / len(overlap)

    def new_metric(self) -> Metric:
        return PointingMetric(self)

    def items(self, pointed: Sequence[Pointed]) -> ItemScores:
        """The scores of what was pointed at."""
        return pointing_items(pointed)

    def prediction(self, example: Example, row: RowView, place: int) -> dict[str, Any]:
        """What was predicted, where `place` is the chosen region's among those of the row."""
        return {"id": example.example_id, "box": row.regions.boxes[place].tolist()}

    def no_prediction(self, example: Example) -> dict[str, Any]:
        """The same where there is no candidate: a box of no size, so that every example has its prediction."""
        return {"id": example.example_id, "box": [0.0, 0.0, 0.0, 0.0]}


class PointingMetric(Metric):
    """Whether the best-scored candidate of each example is right; of equal ones a wrong one is taken.

    An example without candidates, on a picture in which nothing was detected, is asked and missed.
    """

    def __init__(self, task: Pointing):
        self.task = task
        self.pointed: list[Pointed] = []
        self.listed: list[dict[str, Any]] = []

    def update(self, logits: Tensor, batch: Batch, examples: Sequence[Example], rows: Sequence[RowView]) -> None:
        for scores, example, row in zip(logits.float().cpu().numpy(), examples, rows, strict=True):
            candidates, right = self.task.candidates(example, row), self.task.right(example, row)
            record = example.target
            if not len(candidates):
                self.pointed.append(Pointed(False, False, record.image_id, record.kind))
                self.listed.append(self.task.no_prediction(example))
                continue
            try:
                best = choose(scores[candidates], right)
            except DataError as error:
                raise DataError(
                    f"tasks.{self.task.name}: {example.example_id}, about {record.image_id}: {error}. The training may "
                    "have diverged: score an earlier checkpoint, or train with a lower training.learning_rate"
                ) from None
            self.pointed.append(Pointed(bool(right[best]), bool(right.any()), record.image_id, record.kind))
            self.listed.append(self.task.prediction(example, row, int(candidates[best])))

    def extend(self, other: PointingMetric) -> None:
        self.pointed += other.pointed
        self.listed += other.listed

    def compute(self) -> Scores:
        return self.items().scores()

    def items(self) -> ItemScores:
        return self.task.items(self.pointed)

    def predictions(self) -> list[dict[str, Any]]:
        return self.listed
