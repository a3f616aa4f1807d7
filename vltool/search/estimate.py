"""How long a search will take: from updates that are measured before it begins, then from the trials that are done."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch

from vltool.models.precision import resolve_precision
from vltool.search.grid import Cell
from vltool.structures import TaskPlan
from vltool.training.loader import TaskBatches
from vltool.training.run import RunInputs, pick_device
from vltool.training.update import Updater

LONG_S = 5.0


@dataclass(frozen=True)
class StepCost:
    """Seconds of one update of a task: a straight line over levels, in proportion to the batch."""

    batch_size: int
    level: int
    seconds: float
    seconds_per_level: float

    def seconds_of(self, plan: TaskPlan) -> float:
        """Of one update of a plan."""
        per_batch = self.seconds + (plan.level - self.level) * self.seconds_per_level
        return max(per_batch, 0.1 * self.seconds) * plan.batch_size / self.batch_size


def measure_steps(inputs: RunInputs, cells: Sequence[Cell], *, num_threads: int) -> StepCost:
    """Measures updates of one task's cells: at their highest and their lowest level, with their largest batch."""
    levels = sorted({cell.plan.level for cell in cells})
    batch_size = max(cell.plan.batch_size for cell in cells)
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        high = _seconds(inputs, cells[0].plan.task, levels[-1], batch_size)
        if len(levels) == 1 or high > LONG_S:
            return StepCost(batch_size, levels[-1], high, high / (levels[-1] + 1))
        low = _seconds(inputs, cells[0].plan.task, levels[0], batch_size)
    finally:
        torch.set_num_threads(before)
    return StepCost(batch_size, levels[-1], high, (high - low) / (levels[-1] - levels[0]))


def _seconds(inputs: RunInputs, task: str, level: int, batch_size: int) -> float:
    """Of the quicker of a few updates after a first one; of the first alone where that takes long."""
    settings, device = inputs.config.training, pick_device(inputs.config.training.device)
    model = inputs.model({task: level}, seed=0).to(device)
    updater = Updater(
        model,
        learning_rate=settings.learning_rate,
        betas=settings.betas,
        decay=settings.decay,
        step_size=1000,
        precision=resolve_precision(settings.precision, device),
        device=device,
    )
    examples = inputs.prepared.examples[task]["train"]
    taken = []
    with ThreadPoolExecutor(1) as pool:
        batches = TaskBatches(
            inputs.prepared.tasks[task], examples, inputs.batching(), batch_size=batch_size, seed=0, pool=pool
        )
        for _ in range(4):
            started = time.perf_counter()
            updater.update(inputs.prepared.tasks[task], next(batches).to(device))
            taken.append(time.perf_counter() - started)
            if taken[0] > LONG_S:
                break
    return min(taken)


def readable(seconds: float) -> str:
    """As in 40 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
