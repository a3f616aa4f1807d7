"""What a task is: its examples, its decoder, its loss and its metric. A new task is one file and one registry line.

A task turns records of official files into `Example`s, says which tensors its decoder and loss need, and scores
predictions by the official rule. It never sees the encoder's insides: a decoder reads a JointState.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

import numpy as np
from pydantic import ConfigDict, TypeAdapter, ValidationError

from vltool.errors import ConfigError
from vltool.metrics.answer_words import normalize_answer
from vltool.metrics.item_scores import ItemScores
from vltool.structures import Batch, Example, ImageId, RegionFeatures

if TYPE_CHECKING:
    from torch import Tensor, nn

    from vltool.models.encoder import Encoder
    from vltool.tasks.given_boxes import GivenBoxes
    from vltool.tasks.region_source import RegionSource

RecordT = TypeVar("RecordT")
Scores = dict[str, float]


@dataclass(frozen=True)
class RowView:
    """The regions and words of one image-sentence row, as a task sees them while a batch is built.

    num_given: how many of the regions, the last ones, are the given boxes that the task wanted.
    """

    regions: RegionFeatures
    tokens: tuple[str, ...]
    num_given: int = 0

    @property
    def num_detected(self) -> int:
        return self.regions.num_regions - self.num_given


class Metric(ABC):
    """Collects predictions batch by batch and scores them all at the end."""

    @abstractmethod
    def update(self, logits: Tensor, batch: Batch, examples: Sequence[Example], rows: Sequence[RowView]) -> None:
        """Take one batch; logits as the decoder gave them, rows one a (first) row of each example."""

    @abstractmethod
    def compute(self) -> Scores:
        """All scores in percent."""

    def extend(self, other: Any) -> None:
        """Take what another metric of this kind collected from the examples after these: evaluation by processes."""
        raise NotImplementedError(f"{type(self).__name__} cannot be collected by several processes: give it `extend`")

    def predictions(self) -> list[dict[str, Any]]:
        """What was predicted, one JSON-able record an item, in the official submission's layout where one exists."""
        return []

    def submission(self) -> tuple[str, str] | None:
        """(suffix, text) of the official submission where it is no JSON list, as in (".csv", "dev-850-0-0,True\n")."""
        return None

    def items(self) -> ItemScores | None:
        """The scores item by item, for intervals and paired comparisons; None if there are none."""
        return None


class Task(ABC, Generic[RecordT]):
    """A task over the records of each split. See docs/adding_a_task.md."""

    scoring: ClassVar[Literal["per_example", "all_pairs"]] = "per_example"
    reads_classes: ClassVar[bool] = False
    """Whether its batches need the detector's classes of the regions, which take longer to read."""
    chooses_regions: ClassVar[bool] = False
    """Whether it is scored on which of the candidate regions it finds: then their source stands beside its scores."""
    main_metric: ClassVar[str]
    """The score that the search maximises on validation data."""
    averaged_metric: ClassVar[str] = ""
    """The score that an average over tasks takes, in percent; the main metric unless named."""

    @dataclass(frozen=True)
    class Options:
        """The task's own options; the configuration is checked against them."""

    def __init__(
        self, name: str, records: Mapping[str, Sequence[RecordT]], *, options: Mapping[str, Any] | None = None
    ):
        self.name = name
        self.options = self._check_options(options or {})
        self._examples = {split: tuple(self.example(record) for record in found) for split, found in records.items()}

    def _check_options(self, options: Mapping[str, Any]) -> Any:
        self.Options.__pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[attr-defined]
        try:
            checked = TypeAdapter(self.Options).validate_python(dict(options))
        except ValidationError as error:
            known = ", ".join(asdict(self.Options())) or "none"
            found = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
            raise ConfigError(f"tasks.{self.name}.options: {found} (known options: {known})") from None
        return checked

    @abstractmethod
    def example(self, record: RecordT) -> Example:
        """One record of an official file as an example."""

    def examples(self, split: str) -> tuple[Example, ...]:
        """Every example of `split` (train, val or test), in the order of the files."""
        return self._examples.get(split, ())

    def answers(self, examples: Sequence[Example]) -> list[tuple[str, ...]]:
        """The right answers of each example, where the task chooses from a pool; empty otherwise."""
        return []

    def correct_answers(self, examples: Sequence[Example]) -> list[str] | None:
        """The one right answer of each example, where the dataset says it for all of them; else None."""
        return None

    def normalize_answer(self, text: str) -> str:
        """What answers are compared as: by default as the official VQA evaluator does."""
        return normalize_answer(text)

    @property
    def adds_answers(self) -> bool:
        """Whether its training answers count for the pool that it chooses from."""
        return True

    def outputs(self) -> Sequence[str]:
        """What the outputs of its decoder stand for, in order, where the task gives each a meaning of its own.

        Tasks that share a decoder must agree. Asked for when decoders are built.
        """
        return ()

    def learn_answers(self, pool: Any) -> None:
        """Take the answer pool that was built from training data."""

    def learn_words(self, words: Any) -> None:
        """Take the run's vocabulary, which knows how sentences are split into tokens (vltool.text.words.Words)."""

    def learn_features(self, header: Mapping[str, Any]) -> None:
        """Take what the feature store says of itself."""

    def given_boxes(self, example: Example, *, training: bool) -> GivenBoxes | None:
        """Boxes that the dataset gives, to stand behind the detected regions of the example's (first) picture.

        They depend on the picture alone, so that a batch holds it once.
        """
        return None

    def prepare_training(self, examples: Sequence[Example], regions: RegionSource) -> None:
        """Told before the first batch: all that is learned from, and where the regions of its pictures are."""

    @abstractmethod
    def build_decoder(self, encoder: Encoder, *, dropout: float) -> nn.Module:
        """The task's own decoder for the states of `encoder`."""

    def pair_rows(self, images: np.ndarray, sentences: np.ndarray, generator: np.random.Generator | None) -> np.ndarray:
        """(B, rows, 2): which image and sentence each example encodes, where examples have one row of their own.

        images, sentences (B,): the example's own. generator: given in training, for in-batch negatives.
        """
        return np.stack([images, sentences], axis=-1)[:, None, :]

    def further_rows(
        self, examples: Sequence[Example], generator: np.random.Generator
    ) -> list[tuple[tuple[ImageId, str], ...]]:
        """Rows for each example of a training batch beside those of `pair_rows`, as many each, of any pictures."""
        return []

    def choose_rows(self, batch: Batch, score: Callable[[Tensor], Tensor]) -> Batch:
        """The batch with the rows that an update is to learn from: all of them, unless a task chooses by score.

        score: rows (N, 2) -> what the decoder gives for them now, without gradient. Level 0 is not run again.
        """
        return batch

    @abstractmethod
    def tensors(
        self, examples: Sequence[Example], rows: Sequence[RowView], num_rows: int
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """What the decoder needs beside the joint state, and what the loss compares with; first dimension B."""

    def disguise(self, batch: Batch, generator: np.random.Generator | None) -> Batch:
        """The whole batch as the encoder is to see it. generator: given in training."""
        return batch

    @abstractmethod
    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """Scalar loss of one batch: a mean over its `loss_terms`."""

    def loss_terms(self, batch: Batch) -> int:
        """How many terms `loss` is the mean of; the parts of a batch that is computed in parts weigh by theirs."""
        return batch.num_examples

    def new_metric(self) -> Metric:
        """A fresh metric for tasks scored example by example."""
        raise NotImplementedError(f"{type(self).__name__} is scored over all pairs")

    def pair_items(self, scores: np.ndarray, caption_image: np.ndarray, image_ids: Sequence[str]) -> ItemScores:
        """Scores of a task scored over all pairs, item by item.

        scores (images, captions), caption_image (captions,) the row of each caption's picture, image_ids (images,).
        """
        raise NotImplementedError(f"{type(self).__name__} is scored example by example")

    def rules(self) -> dict[str, Any]:
        """Which of several rules in use the scores follow: they are printed with them."""
        return {}

    def check_asked(self, split: str, examples: Sequence[Example]) -> None:
        """Raises DataError if `examples` of a split are not fit to be predicted or scored; before the work."""

    def check_predictions(self, split: str, predictions: Sequence[Mapping[str, Any]]) -> None:
        """Raises DataError if predictions of a split are not fit to be sent anywhere; before they are written."""

    @abstractmethod
    def ignorance(self, split_examples: Sequence[Example], train_examples: Sequence[Example], rows: Any) -> Scores:
        """What is reached without looking: chance, the majority, the question alone.

        rows: a function from an example to its RowView, for those who need the candidate regions.
        """
