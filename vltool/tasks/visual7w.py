"""Visual7W pointing: which of four given boxes answers a question. Predictions are as its toolkit reads them."""

from __future__ import annotations

from typing import Any

from vltool.structures import Example
from vltool.tasks.multiple_choice import MultipleChoice
from vltool.tasks.task import RowView


class Visual7W(MultipleChoice):
    def prediction(self, example: Example, row: RowView, place: int) -> dict[str, Any]:
        record = example.target
        answer = self.chosen_id(example, row, place)
        return {"qa_id": int(record.record_id), "question": record.text, "candidates": [{"answer": answer}]}
