"""Which weights were best on validation data so far, for each task and for all together, and when to stop.

Together the tasks are ranked by the geometric mean of their main metrics: see docs/decisions/best_checkpoint.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pydantic import ConfigDict

from vltool.tasks.task import Scores

TOGETHER = "best"
"""Name of the checkpoint that is best for all tasks together; that of a task is "best-" and its name."""

LOWEST_SCORE = 0.1
"""What a score of less counts as, in percent: one task at zero must not hide the others."""


@dataclass
class Standing:
    """best: checkpoint's name → the update and the score of the best weights. latest: the last evaluation.

    num_worse: evaluations in a row that gave no new best for all tasks together.
    """

    best: dict[str, dict[str, float]] = field(default_factory=dict)
    latest_update: int = -1
    latest: dict[str, Scores] = field(default_factory=dict)
    num_worse: int = 0

    __pydantic_config__ = ConfigDict(extra="forbid")

    def take(
        self, update: int, scores: Mapping[str, Scores], main_metrics: Mapping[str, str], *, patient: bool = True
    ) -> list[str]:
        """Take the scores after `update`; gives the names of the checkpoints that these weights are the best of.

        patient: whether an evaluation without a new best counts towards the end of the training.
        """
        self.latest_update, self.latest = update, dict(scores)
        main = {name: found[main_metrics[name]] for name, found in scores.items()}
        ranked = {TOGETHER: geometric_mean(list(main.values()))}
        if len(main) > 1:
            ranked |= {f"{TOGETHER}-{name}": score for name, score in main.items()}
        improved = [name for name, score in ranked.items() if name not in self.best or score > self.best[name]["score"]]
        self.best |= {name: {"update": update, "score": ranked[name]} for name in improved}
        self.num_worse = 0 if TOGETHER in improved or not patient else self.num_worse + 1
        return improved

    def has_scored(self, update: int) -> bool:
        """Whether the last evaluation was of the weights after `update`."""
        return self.latest_update == update

    def dump(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return asdict(self)


def geometric_mean(scores: list[float]) -> float:
    """Its order does not depend on the scale of any score: 1 % better counts the same in each."""
    return math.exp(sum(math.log(max(score, LOWEST_SCORE)) for score in scores) / len(scores))
