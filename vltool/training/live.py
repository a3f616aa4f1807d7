"""A training's lines as a person is told them: the loss of every task, examples a second, what happened."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from vltool.training.schedule import JointPlan

SECONDS_AVERAGED = 3.0


class Live:
    """Called with every line of a training; tells `say` what happens once, `progress` how it goes."""

    def __init__(
        self, plan: JointPlan, *, say: Callable[[str], None], progress: Callable[[str, int, int], None]
    ) -> None:
        self.say, self.progress = say, progress
        self.num_updates = plan.updates_before()
        self.losses: dict[str, float] = {}
        self.at_rest: set[str] = set()
        self.speed = 0.0
        self._since: float | None = None
        self._examples = 0

    def __call__(self, line: dict[str, Any]) -> None:
        kind = line["kind"]
        if kind == "update":
            self._take(line)
            self.progress(self.label(), line.get("turn", line["update"]), self.num_updates)
        elif kind == "finished":
            self.say("up to date")
        elif kind == "resumed":
            self.say(f"going on from update {line['update']:,}" + _regrouped(line))
        elif kind == "first_weights":
            self.say(line["text"])
        elif kind == "stop_and_go" and line["is_at_rest"] != (line["task"] in self.at_rest):
            self.at_rest ^= {line["task"]}
            self.say(f"{line['task']} {'rests' if line['is_at_rest'] else 'goes on'}: {line['score']:.2f} on val")
        elif kind == "inherited":
            self.say(f"{line['tensors']} tensors from {line['from']}; new: {', '.join(line['left']) or 'none'}")

    def label(self) -> str:
        """training: vqa 2.310, grounding 0.412; 890 examples/s"""
        losses = ", ".join(f"{name} {loss:.3f}" for name, loss in self.losses.items())
        return f"training: {losses}" + (f"; {self.speed:,.0f} examples/s" if self.speed else "")

    def _take(self, line: dict[str, Any]) -> None:
        before = self.losses.get(line["task"], line["loss"])
        self.losses[line["task"]] = 0.9 * before + 0.1 * line["loss"]
        if self._since is None:  # the first update, which took longer than others
            self._since = time.monotonic()
            return
        self._examples += line["num_examples"]
        passed = time.monotonic() - self._since
        if passed > (SECONDS_AVERAGED if self.speed else 1.0):
            self.speed = self._examples / passed
            self._since, self._examples = time.monotonic(), 0


def _regrouped(line: dict[str, Any]) -> str:
    if "processes_before" not in line:
        return ""
    return (
        f"; {line['processes_before']} processes came that far: the sums are the same, their rounding and the dropout "
        "are not"
    )
