"""How long a search will take: from updates that are measured before it begins, then from the trials that are done."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import torch

from vltool.search.grid import Cell, Settings, with_settings
from vltool.structures import TaskPlan
from vltool.training.loader import TaskBatches
from vltool.training.run import RunInputs, pick_device
from vltool.training.timing import seconds_of, updater_to_time

LONG_S, SHORT_S = 5.0, 0.4
FIRST_SCORED = 32
MOST_MEASURED = 8
"""Distinct networks of one task that are measured."""
FREE_KEYS = ("training.learning_rate", "training.betas", "training.decay", "training.gradient_clip")
"""What a grid may set without making an update take longer."""


@dataclass(frozen=True)
class StepCost:
    """Seconds of one update of a task: a straight line over levels, in proportion to the batch.

    scoring: seconds of scoring its validation data once, at `level`.
    """

    batch_size: int
    level: int
    seconds: float
    seconds_per_level: float
    scoring: float = 0.0

    def seconds_of(self, plan: TaskPlan) -> float:
        """Of one update of a plan."""
        return self._at(plan.level) * plan.batch_size / self.batch_size

    def trial_seconds(self, plan: TaskPlan, share: float = 1.0) -> float:
        """Of a share of a plan's updates, and of scoring it then."""
        scoring = self.scoring * self._at(plan.level) / self.seconds if self.seconds else self.scoring
        return self.seconds_of(plan) * plan.num_updates * share + scoring

    def _at(self, level: int) -> float:
        return max(self.seconds + (level - self.level) * self.seconds_per_level, 0.1 * self.seconds)


@dataclass(frozen=True)
class TaskCosts:
    """What the updates of one task cost: by what its grid sets of the network (`network_settings`).

    num_settings: how many of these there are; those that were not measured count as the dearest that was.
    """

    by_settings: Mapping[Settings, StepCost]
    num_settings: int

    @property
    def dearest(self) -> StepCost:
        return max(self.by_settings.values(), key=lambda cost: cost.seconds / cost.batch_size)

    def of(self, cell: Cell) -> StepCost:
        return self.by_settings.get(network_settings(cell), self.dearest)

    def told(self) -> str:
        """As in "12 ms at level 3", or "12 to 40 ms at level 3, by 2 settings"."""
        taken = sorted(1000 * cost.seconds for cost in self.by_settings.values())
        range_ms = f"{taken[0]:.0f}" + (f" to {taken[-1]:.0f}" if self.num_settings > 1 else "")
        unmeasured = self.num_settings - len(taken)
        rest = f", the other {unmeasured} taken as the dearest" if unmeasured else ""
        settings = f", by {len(taken)} settings of search.grid.set{rest}" if self.num_settings > 1 else ""
        return f"{range_ms} ms at level {self.dearest.level}{settings}"


def network_settings(cell: Cell) -> Settings:
    """What a cell sets that changes how long an update takes."""
    return tuple(setting for setting in cell.settings if setting[0] not in FREE_KEYS)


def measure_task(inputs: RunInputs, cells: Sequence[Cell], *, num_threads: int) -> TaskCosts:
    """Measures updates of one task's cells, with every distinct network of them, or with MOST_MEASURED of many."""
    groups: dict[Settings, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(network_settings(cell), []).append(cell)
    settings = list(groups)
    if len(settings) > MOST_MEASURED:  # from end to end of the grid
        last = len(settings) - 1
        settings = [settings[round(k * last / (MOST_MEASURED - 1))] for k in range(MOST_MEASURED)]
    costs = {
        chosen: measure_steps(
            replace(inputs, config=with_settings(inputs.config, chosen)), groups[chosen], num_threads=num_threads
        )
        for chosen in settings
    }
    return TaskCosts(costs, len(groups))


def measure_steps(inputs: RunInputs, cells: Sequence[Cell], *, num_threads: int) -> StepCost:
    """Measures updates of cells of one network: at their highest and their lowest level, with their largest batch."""
    task = cells[0].plan.task
    levels = sorted({cell.plan.level for cell in cells})
    batch_size = max(cell.plan.batch_size for cell in cells)
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        scoring = _seconds_of_scoring(inputs, task, levels[-1])
        high = _seconds(inputs, task, levels[-1], batch_size)
        if len(levels) == 1 or high > LONG_S:
            return StepCost(batch_size, levels[-1], high, high / (levels[-1] + 1), scoring)
        low = _seconds(inputs, task, levels[0], batch_size)
    finally:
        torch.set_num_threads(before)
    return StepCost(batch_size, levels[-1], high, (high - low) / (levels[-1] - levels[0]), scoring)


def _seconds_of_scoring(inputs: RunInputs, task: str, level: int) -> float:
    """Of the whole validation split, from the first parts of it.

    A part that is twice as large takes two to four times as long: retrieval scores every pair.
    """
    examples = inputs.prepared.examples[task]["val"]
    device = pick_device(inputs.config.training.device)
    model = inputs.model({task: level}, seed=0).to(device)
    count, taken = min(FIRST_SCORED, len(examples)), [0.0]
    while count:
        part = replace(inputs, prepared=inputs.prepared.only([task]))
        part.prepared.examples[task] = {**part.prepared.examples[task], "val": examples[:count]}
        score = functools.partial(part.evaluate, model, task, "val")
        taken.append(min(seconds_of(score, device) for _ in range(2)))
        if count == len(examples):
            return taken[-1]
        if taken[-1] > SHORT_S:
            break
        count = min(2 * count, len(examples))
    growth = min(4.0, max(2.0, taken[-1] / taken[-2])) if taken[-2] else 2.0
    return taken[-1] * growth ** math.log2(len(examples) / count) if count else 0.0


def _seconds(inputs: RunInputs, task: str, level: int, batch_size: int) -> float:
    """Of the quicker of a few updates after a first one; of the first alone where that takes long."""
    settings, device = inputs.config.training, pick_device(inputs.config.training.device)
    model = inputs.model({task: level}, seed=0).to(device)
    updater = updater_to_time(settings, model, TaskPlan(task, level, 1000, batch_size, 1000), device)
    own = inputs.prepared.tasks[task]
    taken = []
    with ThreadPoolExecutor(1) as pool:
        batches = TaskBatches(
            own, inputs.prepared.examples[task]["train"], inputs.batching(), batch_size=batch_size, seed=0, pool=pool
        )
        for _ in range(4):
            taken.append(seconds_of(lambda: updater.update(own, next(batches).to(device)), device))
            if taken[0] > LONG_S:
                break
    return min(taken)
