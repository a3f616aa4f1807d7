"""Masked pre-training on captions: which words, and which things, were hidden (ViLBERT; 12-in-1, section 3.1).

Both tasks show the encoder true pairs of picture and caption alone, with words and regions hidden as in
`masking.py`; one asks for the words, the other for the detector's classes of the regions. Beside them
`alignment.py` asks whether picture and caption belong together.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import NonNegativeInt

from vltool.datasets.records import CaptionRecord
from vltool.errors import ConfigError, DataError
from vltool.metrics.item_scores import ItemScores, Part, Score
from vltool.structures import Batch, Example
from vltool.tasks.masking import Hidden, hide, places_of
from vltool.tasks.task import Metric, RowView, Scores, Task
from vltool.training_config import Share

if TYPE_CHECKING:
    from torch import Tensor, nn

    from vltool.models.encoder import Encoder
    from vltool.text.words import Words


class MaskedModelling(Task[CaptionRecord]):
    """What both tasks share: captions as examples, cross-entropy at the places asked for, the share of right ones."""

    main_metric = "accuracy"
    asks_for: ClassVar[str]
    words: Words | None = None

    @dataclass(frozen=True)
    class Options:
        """word_share, region_share: how many words and regions are hidden; 0 leaves a side whole that is not asked
        for."""

        word_share: Share = 0.15
        region_share: Share = 0.15

    def example(self, record: CaptionRecord) -> Example:
        return Example(record.caption_id, ((record.image_id, record.text),), None)

    def learn_words(self, words: Words) -> None:
        self.words = words

    def _words(self) -> Words:
        if self.words is None:
            raise DataError(f"tasks.{self.name}: the vocabulary is not built yet. Run: vltool embed-text CONFIG")
        return self.words

    def disguise(self, batch: Batch, generator: np.random.Generator | None) -> Batch:
        hidden = hide(
            batch,
            self._words(),
            generator,
            word_share=self.options.word_share,
            region_share=self.options.region_share,
        )
        return self._ask(batch, hidden)

    @abstractmethod
    def _ask(self, batch: Batch, hidden: Hidden) -> Batch:
        """The disguised batch with the places asked for and what was there."""

    def _asked(self, whole: Batch, hidden: Hidden, side: int, chosen: np.ndarray, content: Tensor) -> Batch:
        """side: which column of `rows`; chosen (K, P) bool; content (B, P) long: what stands at each place."""
        import torch

        places, real = (torch.from_numpy(found) for found in places_of(list(chosen[whole.rows[:, side].numpy()])))
        targets = content.gather(1, places).masked_fill(~real, -1)
        return replace(
            hidden.batch,
            inputs={f"{self.asks_for}_places": places, "asked": real},
            targets={"content": targets},
        )

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        import torch.nn.functional as F

        content = batch.targets["content"]  # (B, M), -1 where nothing is asked
        return F.cross_entropy(logits.flatten(0, 1), content.flatten(), ignore_index=-1, reduction="sum") / max(
            1, self.loss_terms(batch)
        )

    def loss_terms(self, batch: Batch) -> int:
        return int(batch.inputs["asked"].sum())

    def new_metric(self) -> Metric:
        return MaskedAccuracy()

    def _most_common(self, found: Counter[Any]) -> Scores:
        return {"most_common.accuracy": 100 * max(found.values(), default=0) / max(1, found.total())}


class MaskedWords(MaskedModelling):
    """Which words of the caption were hidden."""

    asks_for = "word"

    def build_decoder(self, encoder: Encoder, *, dropout: float) -> nn.Module:
        from vltool.models.decoders.masked import MaskedWordsDecoder

        return MaskedWordsDecoder(encoder.text_width, encoder.word_vectors)

    def tensors(
        self, examples: Sequence[Example], rows: Sequence[RowView], num_rows: int
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        return {}, {}

    def _ask(self, batch: Batch, hidden: Hidden) -> Batch:
        return self._asked(batch, hidden, 1, hidden.words, batch.tokens[batch.rows[:, 1]])

    def ignorance(
        self,
        split_examples: Sequence[Example],
        train_examples: Sequence[Example],
        rows: Callable[[Example], RowView],
    ) -> Scores:
        """What naming the most common word of these captions would reach."""
        return self._most_common(Counter(token for example in split_examples for token in rows(example).tokens))


class MaskedRegions(MaskedModelling):
    """Which class of the detector the hidden regions have. A store keeps the best class alone, so it is that one."""

    asks_for = "region"
    reads_classes = True
    num_classes = 0

    @dataclass(frozen=True)
    class Options(MaskedModelling.Options):
        """num_classes: of the detector, where the feature store does not name them."""

        num_classes: NonNegativeInt = 0

    def learn_features(self, header: Mapping[str, Any]) -> None:
        self.num_classes = self.options.num_classes or len(header.get("class_names") or ())

    def build_decoder(self, encoder: Encoder, *, dropout: float) -> nn.Module:
        from vltool.models.decoders.masked import MaskedRegionsDecoder

        if not self.num_classes:
            raise ConfigError(
                f"tasks.{self.name}: the feature store does not say which classes its detector has. Set "
                f"tasks.{self.name}.options.num_classes to how many there are"
            )
        return MaskedRegionsDecoder(encoder.image_width, self.num_classes)

    def tensors(
        self, examples: Sequence[Example], rows: Sequence[RowView], num_rows: int
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        import torch

        classes = torch.zeros(len(rows), max(row.regions.num_regions for row in rows), dtype=torch.long)
        for place, row in enumerate(rows):
            classes[place, : row.regions.num_regions] = torch.from_numpy(self._classes(row))
        return {}, {"classes": classes}

    def _classes(self, row: RowView) -> np.ndarray:
        found = row.regions.classes
        if found is None:
            raise DataError(
                f"tasks.{self.name}: the features of image {row.regions.image_id!r} come without the detector's "
                "classes, which it learns from. Extract them (vltool extract-features) or import some that have them"
            )
        if len(found) and not 0 <= found.min() <= found.max() < self.num_classes:
            raise DataError(
                f"tasks.{self.name}: image {row.regions.image_id!r} has a region of class {found.max()}, of "
                f"{self.num_classes}. Set tasks.{self.name}.options.num_classes"
            )
        return found.astype(np.int64)

    def _ask(self, batch: Batch, hidden: Hidden) -> Batch:
        return self._asked(batch, hidden, 0, hidden.regions, batch.targets["classes"])

    def ignorance(
        self,
        split_examples: Sequence[Example],
        train_examples: Sequence[Example],
        rows: Callable[[Example], RowView],
    ) -> Scores:
        """What naming the most common class of these pictures would reach."""
        pictures = {example.rows[0][0]: example for example in split_examples}
        return self._most_common(
            Counter(number for example in pictures.values() for number in self._classes(rows(example)).tolist())
        )


class MaskedAccuracy(Metric):
    """Percent of the hidden words or regions that are named rightly; what a resample draws are pictures."""

    def __init__(self) -> None:
        self.right: list[bool] = []
        self.pictures: list[str] = []

    def update(self, logits: Tensor, batch: Batch, examples: Sequence[Example], rows: Sequence[RowView]) -> None:
        content = batch.targets["content"]  # (B, M)
        asked = content >= 0
        self.right += (logits.argmax(-1) == content)[asked].tolist()
        for example, count in zip(examples, asked.sum(dim=1).tolist(), strict=True):
            self.pictures += [example.rows[0][0]] * count

    def extend(self, other: MaskedAccuracy) -> None:
        self.right += other.right
        self.pictures += other.pictures

    def compute(self) -> Scores:
        return self.items().scores()

    def items(self) -> ItemScores:
        place = {picture: k for k, picture in enumerate(dict.fromkeys(self.pictures))}
        units = np.array([place[picture] for picture in self.pictures])
        part = Part(100 * np.array(self.right, np.float64), units)
        return ItemScores("image", tuple(place), {"all": part}, {"accuracy": Score("mean", ("all",))})
