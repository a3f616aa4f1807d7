"""Which tasks learn together: every combination of a run's tasks, trained alike, over several seeds.

A training of some tasks is Algorithm 1 over their part of the plan, so a task gets the same updates alone, in a pair
and among all (section 5.3 of Nguyen and Okatani, Table 1). Scores are those of validation data.

<out>/combinations/vqa+grounding/seed-0/   a training as any other (training/run.py)
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

from vltool.config import RunConfig, dump
from vltool.engines.engine import Engine
from vltool.structures import TaskPlan
from vltool.tasks.task import Scores
from vltool.training.inputs import load_inputs_once


@dataclass(frozen=True)
class Combination:
    """Some tasks to be trained together with one seed in `folder`. config: the run's, as JSON, for its process."""

    plans: tuple[TaskPlan, ...]
    cycle_updates: int
    seed: int
    folder: str
    config: str

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(plan.task for plan in self.plans)


def list_combinations(config: RunConfig, plans: Sequence[TaskPlan], *, seeds: Sequence[int]) -> list[Combination]:
    """Single tasks, then pairs, up to all of them; each with every seed."""
    text = json.dumps(dump(config))
    folder = config.out_dir / "combinations"
    return [
        Combination(
            chosen,
            config.training.cycle_updates,
            seed,
            str(folder / "+".join(plan.task for plan in chosen) / f"seed-{seed}"),
            text,
        )
        for count in range(1, len(plans) + 1)
        for chosen in combinations(plans, count)
        for seed in seeds
    ]


def train_combinations(
    listed: Sequence[Combination],
    engine: Engine,
    *,
    on_done: Callable[[Combination, dict[str, Scores]], None] | None = None,
) -> list[dict[str, Any]]:
    """Trains them all, the longest first, and gives `summarize` of their scores. Raises the first error of one."""
    found: dict[Combination, dict[str, Scores]] = {}
    jobs = sorted(listed, key=lambda job: -sum(plan.num_updates * plan.level for plan in job.plans))
    for done in engine.run(train_combination, jobs):
        if done.error is not None:
            raise done.error
        assert done.result is not None
        found[done.job] = done.result
        if on_done:
            on_done(done.job, done.result)
    return summarize([(job, found[job]) for job in listed])


def train_combination(job: Combination) -> dict[str, Scores]:
    """Validation scores of each task; runs in a process of its own."""
    from vltool.training.run import train
    from vltool.training.schedule import JointPlan

    inputs = load_inputs_once(job.config)
    inputs = replace(inputs, config=replace(inputs.config, seed=job.seed), prepared=inputs.prepared.only(job.tasks))
    return train(inputs, JointPlan(job.plans, job.cycle_updates), Path(job.folder)).val


def summarize(results: Sequence[tuple[Combination, dict[str, Scores]]]) -> list[dict[str, Any]]:
    """A row for every combination, JSON values.

    {"tasks": [...], "seeds": [...], "scores": {task: {metric: {"mean", "spread", "values"}}}}; spread is the standard
    deviation over the seeds (n - 1), None of a single one.
    """
    by_tasks: dict[tuple[str, ...], list[tuple[int, dict[str, Scores]]]] = {}
    for job, scores in results:
        by_tasks.setdefault(job.tasks, []).append((job.seed, scores))
    return [
        {
            "tasks": list(tasks),
            "seeds": [seed for seed, _ in found],
            "scores": {
                task: {metric: spread_of([scores[task][metric] for _, scores in found]) for metric in found[0][1][task]}
                for task in tasks
            },
        }
        for tasks, found in by_tasks.items()
    ]


def spread_of(values: list[float]) -> dict[str, Any]:
    """{"mean", "spread", "values"} of one score over several seeds."""
    return {
        "mean": statistics.fmean(values),
        "spread": statistics.stdev(values) if len(values) > 1 else None,
        "values": values,
    }
