"""NLVR2: is a sentence true of two pictures? An example is two rows, the sentence with each; 12-in-1's classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vltool.datasets.records import PairStatement
from vltool.errors import DataError
from vltool.metrics.item_scores import ItemScores
from vltool.metrics.nlvr2 import nlvr2_items
from vltool.structures import Example
from vltool.tasks.verification import Verification


class Nlvr2(Verification[PairStatement]):
    classes = ("False", "True")
    num_rows = 2
    num_layers = 2

    def example(self, record: PairStatement) -> Example:
        pictures = (record.image_id, record.other_image_id)
        return Example(record.identifier, tuple((image_id, record.sentence) for image_id in pictures), record)

    def examples(self, split: str) -> tuple[Example, ...]:
        """Raises DataError for statements without a label that are to be learned from or validated on."""
        found = super().examples(split)
        bare = [example.example_id for example in found if not self.label(example)]
        if bare and (split != "test" or len(bare) < len(found)):
            raise DataError(
                f"tasks.{self.name}.{split}: {len(bare):,} of {len(found):,} statements have no label, first "
                f"{bare[0]}. Those without stand under test, and apart from others"
            )
        return found

    def label(self, example: Example) -> str:
        return "" if example.target.is_true is None else str(example.target.is_true)

    def items(self, answered: Sequence[tuple[Example, str]]) -> ItemScores:
        right = [self.label(example) == predicted for example, predicted in answered]
        return nlvr2_items(right, [example.target.sentence_id for example, _ in answered])

    def prediction(self, example: Example, predicted: str) -> dict[str, Any]:
        return {"identifier": example.example_id, "prediction": predicted}

    def submission(self, answered: Sequence[tuple[Example, str]]) -> tuple[str, str] | None:
        return ".csv", "".join(f"{example.example_id},{predicted}\n" for example, predicted in answered)
