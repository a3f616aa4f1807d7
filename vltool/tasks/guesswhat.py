"""GuessWhat?! pointing, the guesser: which of the things in a picture is meant, after all questions and answers.

The dialogue is read as text, `Is it a person? Yes. Is it red? No.`, or with the words that 12-in-1 puts around each
turn (vilbert/datasets/guesswhat_pointing_dataset.py of facebookresearch/vilbert-multi-task at f22b84a).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from vltool.datasets.records import PointingRecord
from vltool.structures import Example
from vltool.tasks.multiple_choice import MultipleChoice
from vltool.tasks.task import RowView


class GuessWhat(MultipleChoice):
    @dataclass(frozen=True)
    class Options(MultipleChoice.Options):
        """games: all that have a question, as in 12-in-1, or only those that the players won, as the game's authors
        train and score their guesser. dialogue: plain text, or marked as in 12-in-1: start Is it red? answer No stop.
        loss, widths: as of every pointing task."""

        games: Literal["all", "success"] = "all"
        dialogue: Literal["plain", "marked"] = "plain"

    def example(self, record: PointingRecord) -> Example:
        if self.options.dialogue == "plain" or not record.turns:
            return super().example(record)
        text = " ".join(f"start {question} answer {answer} stop" for question, answer in record.turns)
        return Example(record.record_id, ((record.image_id, text),), record)

    def examples(self, split: str) -> tuple[Example, ...]:
        """Games without a question are not asked."""
        return tuple(
            example
            for example in super().examples(split)
            if example.target.text and self.options.games in ("all", example.target.kind)
        )

    def rules(self) -> dict[str, Any]:
        return {**super().rules(), "games": self.options.games}

    def prediction(self, example: Example, row: RowView, place: int) -> dict[str, Any]:
        return {"dialogue_id": int(example.example_id), "object_id": self.chosen_id(example, row, place)}
