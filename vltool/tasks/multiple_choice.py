"""What tasks share that point at one of a few boxes that the dataset gives: right is that box and no other.

All given boxes of the picture stand behind its detected regions, however many there are of either.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vltool.structures import Example
from vltool.tasks.given_boxes import GivenBoxes
from vltool.tasks.pointing import Pointing
from vltool.tasks.task import RowView, Scores


class MultipleChoice(Pointing):
    def given_boxes(self, example: Example, *, training: bool) -> GivenBoxes | None:
        return self.given(example)

    def candidates(self, example: Example, row: RowView) -> np.ndarray:
        return row.num_detected + np.array(example.target.candidates)

    def right(self, example: Example, row: RowView) -> np.ndarray:
        return np.array(example.target.candidates) == example.target.answer

    def rules(self) -> dict[str, Any]:
        return {"boxes": "given"}

    def chosen_id(self, example: Example, row: RowView, place: int) -> int:
        """What the dataset calls the chosen box; place: of its region in the row."""
        return int(example.target.box_ids[place - row.num_detected])

    def ignorance(self, split_examples: Sequence[Example], train_examples: Sequence[Example], rows: Any) -> Scores:
        return {"accuracy": 100 * float(np.mean([1 / len(example.target.candidates) for example in split_examples]))}
