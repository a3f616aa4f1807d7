"""What tasks share that answer from a pool: one logistic output per answer (equation 8), targets that may be soft.

The pool comes from training data only (`embed-text`). A task of this kind says what an answer is worth (`targets`) and
how answers are scored (`new_metric`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import PositiveInt

from vltool.errors import DataError
from vltool.metrics.item_scores import ItemScores
from vltool.structures import Batch, Example
from vltool.tasks.task import Metric, RecordT, RowView, Scores, Task

if TYPE_CHECKING:
    from torch import Tensor, nn

    from vltool.models.encoder import Encoder
    from vltool.text.vocabulary import AnswerPool


class Answering(Task[RecordT]):
    main_metric = "accuracy"
    pool: AnswerPool | None = None

    @dataclass(frozen=True)
    class Options:
        """num_score_maps: K of equation 5. Hidden widths of the summary networks and of equation 8; None is d.

        adds_answers: whether its training answers count for the pool; if not, it has the pool of the tasks that it
        shares a decoder with, as Visual Genome QA has VQA's in 12-in-1.
        """

        num_score_maps: PositiveInt = 4
        summary_hidden_width: PositiveInt | None = None
        hidden_width: PositiveInt | None = None
        adds_answers: bool = True

    @abstractmethod
    def targets(self, example: Example) -> Mapping[int, float]:
        """Place in the pool → what the answer is worth, for those worth anything."""

    @property
    def adds_answers(self) -> bool:
        return bool(self.options.adds_answers)

    def outputs(self) -> Sequence[str]:
        return self.known_pool().answers

    def learn_answers(self, pool: AnswerPool) -> None:
        if len(pool) == 0 and not self.adds_answers:
            raise DataError(
                f"tasks.{self.name}: has no answers: it adds none to the pool, and no task that it shares a decoder "
                "with does. Set tasks.NAME.decoder to that of a task with answers, or leave adds_answers out"
            )
        if len(pool) == 0:
            raise DataError(
                f"tasks.{self.name}: no answer of the training data is right often enough to enter the pool. "
                "Lower text.answer_threshold or add training questions"
            )
        self.pool = pool

    def known_pool(self) -> AnswerPool:
        """The answer pool. Raises DataError before it is known."""
        if self.pool is None:
            raise DataError(f"tasks.{self.name}: the answer pool is not built yet. Run: vltool embed-text CONFIG")
        return self.pool

    def build_decoder(self, encoder: Encoder, *, dropout: float) -> nn.Module:
        from vltool.models.decoders.answering import AnsweringDecoder

        summary = encoder.build_summary(
            num_maps=self.options.num_score_maps, hidden_width=self.options.summary_hidden_width, dropout=dropout
        )
        classify = encoder.build_classifier(
            summary.joined_width, len(self.known_pool()), hidden_width=self.options.hidden_width, dropout=dropout
        )
        return AnsweringDecoder(summary, classify)

    def tensors(
        self, examples: Sequence[Example], rows: Sequence[RowView], num_rows: int
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        import torch

        scores = torch.zeros(len(examples), len(self.known_pool()))
        for place, example in enumerate(examples):
            for answer, value in self.targets(example).items():
                scores[place, answer] = value
        return {}, {"answer_scores": scores}

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        import torch.nn.functional as F

        targets = batch.targets["answer_scores"]  # (B, answers)
        return F.binary_cross_entropy_with_logits(logits, targets, reduction="sum") / len(targets)


class AnswerMetric(Metric):
    """The best-scored answer of each question; a subclass says how they are scored, and what they look like."""

    def __init__(self, pool: AnswerPool):
        self.pool = pool
        self.answered: list[tuple[Example, str]] = []

    def update(self, logits: Tensor, batch: Batch, examples: Sequence[Example], rows: Sequence[RowView]) -> None:
        best = logits.argmax(-1).tolist()
        self.answered += [(example, self.pool.answers[k]) for example, k in zip(examples, best, strict=True)]

    def extend(self, other: Any) -> None:
        self.answered += other.answered

    def compute(self) -> Scores:
        items = self.items()
        return {} if items is None else items.scores()

    @abstractmethod
    def items(self) -> ItemScores | None: ...
