"""What tasks share that tell of which of a few classes a sentence is beside its picture, or its pictures."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import PositiveInt

from vltool.metrics.ignorance import question_only_answers
from vltool.metrics.item_scores import ItemScores
from vltool.structures import Batch, Example
from vltool.tasks.task import Metric, RecordT, RowView, Scores, Task

if TYPE_CHECKING:
    from torch import Tensor, nn

    from vltool.models.encoder import Encoder


class Verification(Task[RecordT]):
    """classes: their names, in the order of the logits. num_rows: pictures of an example. num_layers: of the classifier
    where the encoder's authors choose between one and two."""

    main_metric = "accuracy"
    classes: ClassVar[tuple[str, ...]]
    num_rows: ClassVar[int] = 1
    num_layers: ClassVar[int] = 1

    @dataclass(frozen=True)
    class Options:
        """num_score_maps: K of equation 5. Hidden widths of the summary networks and of the classifier; None is d.
        loss: a softmax over the classes, or a logistic output for each (12-in-1's; docs/decisions/losses_of_twelve.md).
        """

        num_score_maps: PositiveInt = 4
        summary_hidden_width: PositiveInt | None = None
        hidden_width: PositiveInt | None = None
        loss: Literal["softmax", "logistic"] = "softmax"

    @abstractmethod
    def label(self, example: Example) -> str:
        """The class of an example; "" where it is secret."""

    @abstractmethod
    def items(self, answered: Sequence[tuple[Example, str]]) -> ItemScores:
        """The scores of examples with the class that was predicted for each."""

    @abstractmethod
    def prediction(self, example: Example, predicted: str) -> dict[str, Any]:
        """What was predicted, as a JSON-able record."""

    def submission(self, answered: Sequence[tuple[Example, str]]) -> tuple[str, str] | None:
        """See `Metric.submission`."""
        return None

    def outputs(self) -> Sequence[str]:
        return self.classes

    def build_decoder(self, encoder: Encoder, *, dropout: float) -> nn.Module:
        from vltool.models.decoders.verification import VerificationDecoder

        summary = encoder.build_summary(
            num_maps=self.options.num_score_maps, hidden_width=self.options.summary_hidden_width, dropout=dropout
        )
        classify = encoder.build_classifier(
            self.num_rows * summary.joined_width,
            len(self.classes),
            hidden_width=self.options.hidden_width,
            num_layers=self.num_layers,
            dropout=dropout,
        )
        return VerificationDecoder(summary, classify, num_rows=self.num_rows)

    def tensors(
        self, examples: Sequence[Example], rows: Sequence[RowView], num_rows: int
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        import torch

        secret = -100  # what cross_entropy leaves out
        places = {name: place for place, name in enumerate(self.classes)}
        return {}, {"label": torch.tensor([places.get(self.label(example), secret) for example in examples])}

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        import torch.nn.functional as F

        label = batch.targets["label"]  # (B,)
        if self.options.loss == "logistic":
            return F.binary_cross_entropy_with_logits(logits, F.one_hot(label, len(self.classes)).to(logits.dtype))
        return F.cross_entropy(logits, label)

    def new_metric(self) -> Metric:
        return _Classified(self)

    def ignorance(self, split_examples: Sequence[Example], train_examples: Sequence[Example], rows: Any) -> Scores:
        if not any(self.label(example) for example in split_examples):
            return {}
        train = [(example.rows[0][1], (self.label(example),)) for example in train_examples]
        sentences = [example.rows[0][1] for example in split_examples]
        guesses = question_only_answers(train, sentences, normalize=str)
        majority = question_only_answers(train, [""], normalize=str)[0]
        return {
            f"{name}.{metric}": value
            for name, given in (("question_only", guesses), ("majority", [majority] * len(sentences)))
            for metric, value in self.items(list(zip(split_examples, given, strict=True))).scores().items()
        }


class _Classified(Metric):
    """The best-scored class of each example."""

    def __init__(self, task: Verification[Any]):
        self.task = task
        self.answered: list[tuple[Example, str]] = []

    def update(self, logits: Tensor, batch: Batch, examples: Sequence[Example], rows: Sequence[RowView]) -> None:
        best = logits.argmax(-1).tolist()
        self.answered += [(example, self.task.classes[k]) for example, k in zip(examples, best, strict=True)]

    def extend(self, other: _Classified) -> None:
        self.answered += other.answered

    def compute(self) -> Scores:
        items = self.items()
        return {} if items is None else items.scores()

    def items(self) -> ItemScores | None:
        if not any(self.task.label(example) for example, _ in self.answered):
            return None
        return self.task.items(self.answered)

    def predictions(self) -> list[dict[str, Any]]:
        return [self.task.prediction(example, predicted) for example, predicted in self.answered]

    def submission(self) -> tuple[str, str] | None:
        return self.task.submission(self.answered)
