"""GuessWhat?! pointing, the guesser: which of the things in a picture is meant, after all questions and answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from vltool.structures import Example
from vltool.tasks.multiple_choice import MultipleChoice
from vltool.tasks.task import RowView


class GuessWhat(MultipleChoice):
    @dataclass(frozen=True)
    class Options(MultipleChoice.Options):
        """games: all that have a question, as in 12-in-1, or only those that the players won, as the game's authors
        train and score their guesser. loss, widths: as of every pointing task."""

        games: Literal["all", "success"] = "all"

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
