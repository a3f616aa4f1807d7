"""SNLI-VE: does a picture entail a hypothesis, contradict it, or neither? Pairs without a gold label are not asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vltool.datasets.records import EntailmentRecord
from vltool.metrics.answering import label_items
from vltool.metrics.item_scores import ItemScores
from vltool.structures import Example
from vltool.tasks.verification import Verification


class SnliVe(Verification[EntailmentRecord]):
    classes = ("contradiction", "neutral", "entailment")

    def example(self, record: EntailmentRecord) -> Example:
        return Example(record.pair_id, ((record.image_id, record.hypothesis),), record)

    def examples(self, split: str) -> tuple[Example, ...]:
        return tuple(example for example in super().examples(split) if example.target.label)

    def label(self, example: Example) -> str:
        return str(example.target.label)

    def items(self, answered: Sequence[tuple[Example, str]]) -> ItemScores:
        labels = [self.label(example) for example, _ in answered]
        units = [example.target.image_id for example, _ in answered]
        return label_items([predicted for _, predicted in answered], labels, units)

    def prediction(self, example: Example, predicted: str) -> dict[str, Any]:
        return {"pairID": example.example_id, "prediction": predicted}
