"""Dynamic stop-and-go of 12-in-1: a task that no longer improves trains less, until it gets worse again.

A task is scored on validation data once per pass over its training data. At rest it takes only every gap-th of its
turns. The rules are those of `MultiTaskStopOnPlateau` (vilbert/utils.py) and train_tasks.py of
facebookresearch/vilbert-multi-task at f22b84a; there the Flickr30k scores were those of its test set, which
`check_validation` refuses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from pydantic import ConfigDict

from vltool.errors import SplitError
from vltool.structures import Example
from vltool.tasks.prepare import image_ids_of
from vltool.training_config import StopAndGoConfig


@dataclass
class Plateau:
    """Whether one task is at rest. best: its best score so far (higher is better), None before the first.

    num_bad: scores in a row that were no new best. cooldown: scores to come that count for nothing.
    """

    best: float | None = None
    num_bad: int = 0
    cooldown: int = 0
    is_at_rest: bool = False

    __pydantic_config__ = ConfigDict(extra="forbid")

    def take(self, score: float, rules: StopAndGoConfig) -> None:
        """Take the next validation score."""
        if self.best is None or score > self.best * (1 + rules.threshold):
            self.best, self.num_bad = score, 0
        else:
            self.num_bad += 1
        if self.cooldown > 0:
            self.cooldown, self.num_bad = self.cooldown - 1, 0
        if self.num_bad > rules.patience:
            self._change(True, rules)
        elif self.is_at_rest and score < self.best * (1 - rules.continue_threshold):
            self._change(False, rules)

    def _change(self, is_at_rest: bool, rules: StopAndGoConfig) -> None:
        self.is_at_rest, self.cooldown, self.num_bad = is_at_rest, rules.cooldown, 0


@dataclass
class TaskPace:
    """How far a task has come. turns: of the plan; made: updates made at them; passes: over its data when last scored.

    One pass is as many turns as the task's data has batches, taken or not, as 12-in-1 counts them.
    """

    turns: int = 0
    made: int = 0
    passes: int = 0
    plateau: Plateau = field(default_factory=Plateau)

    __pydantic_config__ = ConfigDict(extra="forbid")


class StopAndGo:
    """Who trains at its turn, and who is to be scored. Without `rules` everyone trains, and no one is scored.

    batches_per_pass: of each task. num_turns: of the whole plan. Its state is part of a checkpoint (`dump`, `load`).
    """

    def __init__(self, batches_per_pass: Mapping[str, int], *, num_turns: int, rules: StopAndGoConfig | None):
        self.batches_per_pass, self.num_turns, self.rules = dict(batches_per_pass), num_turns, rules
        self.paces = {name: TaskPace() for name in batches_per_pass}
        self.num_resets = 0

    def takes_turn(self, name: str) -> bool:
        """A turn of a task has come: whether it trains."""
        pace = self.paces[name]
        resting = self.rules is not None and pace.plateau.is_at_rest and pace.turns % self.rules.gap != 0
        pace.turns += 1
        pace.made += not resting
        return not resting

    def due(self) -> list[str]:
        """The tasks whose turns have gone once more through their data since they were last scored."""
        if self.rules is None:
            return []
        return [name for name, pace in self.paces.items() if pace.turns // self.batches_per_pass[name] > pace.passes]

    def take(self, scores: Mapping[str, float]) -> dict[str, bool]:
        """Take the validation scores of tasks that were due: each of them → whether it is at rest now."""
        assert self.rules is not None
        for name, score in scores.items():
            pace = self.paces[name]
            pace.passes = pace.turns // self.batches_per_pass[name]
            pace.plateau.take(score, self.rules)
        return {name: self.paces[name].plateau.is_at_rest for name in scores}

    def reset_if_time(self) -> bool:
        """Let all go again, their best forgotten, once a share of `rules.resets` is reached; says whether it was."""
        turns = sum(pace.turns for pace in self.paces.values())
        passed = sum(turns >= share * self.num_turns for share in self.rules.resets) if self.rules else 0
        if passed == self.num_resets:
            return False
        self.num_resets = passed
        for pace in self.paces.values():
            pace.plateau = Plateau()
        return True

    def dump(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return {"paces": {name: asdict(pace) for name, pace in self.paces.items()}, "num_resets": self.num_resets}

    def load(self, plain: Mapping[str, Any]) -> None:
        """Stand as when `dump` was called."""
        self.num_resets = plain["num_resets"]
        for name, pace in plain["paces"].items():
            self.paces[name] = TaskPace(**{**pace, "plateau": Plateau(**pace["plateau"])})


def check_validation(examples: Mapping[str, Mapping[str, Sequence[Example]]], *, protocol: str) -> None:
    """Raises SplitError where validation scores must not steer a training.

    That is where they are no honest ones (of a protocol that may train on them), where a task has no validation data,
    or where it is test data: pictures of the task's own test set, or picture and sentence of any task's.
    """
    if protocol not in ("clean", "paper-i"):
        raise SplitError(
            f"training.stop_and_go goes by validation scores, and under splits.protocol {protocol} validation data may "
            "be trained on. Set splits.protocol=clean, or leave stop_and_go out"
        )
    tested = {row: name for name, splits in examples.items() for example in splits["test"] for row in example.rows}
    for name, splits in examples.items():
        if not splits["val"]:
            raise SplitError(f"training.stop_and_go: tasks.{name} has no validation data. Name sources as its `val`")
        met = set(image_ids_of(splits["val"])) & set(image_ids_of(splits["test"]))
        if met:
            raise SplitError(
                f"training.stop_and_go: {len(met)} pictures of tasks.{name}.val are of its test set too, first "
                f"{min(met)}. Test data must not steer a training: name other sources as its `val`"
            )
        row = next((row for example in splits["val"] for row in example.rows if row in tested), None)
        if row is not None:
            raise SplitError(
                f"training.stop_and_go: tasks.{name}.val holds an example of tasks.{tested[row]}.test ({row[0]}, "
                f"{row[1][:60]!r}). Test data must not steer a training: name other sources as `val`"
            )
