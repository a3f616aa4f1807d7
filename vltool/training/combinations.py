"""Which tasks learn together: sets of a run's tasks, trained alike, over several seeds.

A training of some tasks is Algorithm 1 over their part of the plan, so a task gets the same updates alone, in a pair
and among all (section 5.3 of Nguyen and Okatani, Table 1). Scores are those of validation data. The sets are every
combination of the tasks, or those of `combinations.train` (12-in-1, section 5):

single     each task alone
groups     the tasks of each group
pairs      the tasks of each two groups
all        all tasks
finetuned  each task alone, from the weights of the training of all with the same seed

<out>/combinations/vqa+grounding/seed-0/   a training as any other (training/run.py)
<out>/combinations/vqa-finetuned/seed-0/   one that went on from that of all
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

from vltool.config import RunConfig, dump, from_dict
from vltool.engines.engine import Engine
from vltool.structures import TaskPlan
from vltool.tasks.task import Scores
from vltool.training.inputs import load_inputs_once


@dataclass(frozen=True)
class Combination:
    """Some tasks to be trained together with one seed in `folder`. config: the run's, as JSON, for its process.

    is_finetuned: it starts from another of the listed trainings, which must have ended.
    """

    plans: tuple[TaskPlan, ...]
    cycle_updates: int
    seed: int
    folder: str
    config: str
    is_finetuned: bool = False

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(plan.task for plan in self.plans)


def list_combinations(config: RunConfig, plans: Sequence[TaskPlan], *, seeds: Sequence[int]) -> list[Combination]:
    """Every set of tasks with every seed, the fine-tuned ones last."""
    text = json.dumps(dump(config))
    folder = config.out_dir / "combinations"

    def folder_of(chosen: Sequence[TaskPlan], seed: int) -> Path:
        return folder / "+".join(plan.task for plan in chosen) / f"seed-{seed}"

    def new(chosen: tuple[TaskPlan, ...], seed: int) -> Combination:
        return Combination(chosen, config.training.cycle_updates, seed, str(folder_of(chosen, seed)), text)

    def finetuned(plan: TaskPlan, seed: int) -> Combination:
        own = _finetuning(config, str(folder_of(plans, seed) / "checkpoint"))
        place = folder / f"{plan.task}-finetuned" / f"seed-{seed}"
        return Combination(
            (plan,), own.training.cycle_updates, seed, str(place), json.dumps(dump(own)), is_finetuned=True
        )

    from_scratch = [new(chosen, seed) for chosen in sets_of(config, plans) for seed in seeds]
    if "finetuned" not in config.combinations.train:
        return from_scratch
    return [*from_scratch, *(finetuned(plan, seed) for plan in plans for seed in seeds)]


def sets_of(config: RunConfig, plans: Sequence[TaskPlan]) -> list[tuple[TaskPlan, ...]]:
    """The sets of tasks that are trained from scratch, each once, in the order of the run; small ones first."""
    chosen = config.combinations
    if not chosen.train and not chosen.sets:
        return [found for count in range(1, len(plans) + 1) for found in combinations(plans, count)]
    groups = list(chosen.groups.values())
    kinds: dict[str, list[Sequence[str]]] = {
        "single": [(plan.task,) for plan in plans],
        "groups": list(groups),
        "pairs": [(*a, *b) for a, b in combinations(groups, 2)],
        "all": [[plan.task for plan in plans]],
    }
    wanted = [tasks for kind, sets in kinds.items() if kind in chosen.train for tasks in sets]
    found = (tuple(plan for plan in plans if plan.task in tasks) for tasks in (*wanted, *chosen.sets.values()))
    return sorted(dict.fromkeys(found), key=len)


def _finetuning(config: RunConfig, origin: str) -> RunConfig:
    """The run's configuration where a training goes on from the checkpoint `origin`."""
    raw = dump(config)
    raw["training"] |= {**config.combinations.finetune, "init_from": origin}
    return from_dict(raw, where="combinations.finetune")


def train_combinations(
    listed: Sequence[Combination],
    engine: Engine,
    *,
    on_done: Callable[[Combination, dict[str, Scores]], None] | None = None,
) -> list[dict[str, Any]]:
    """Trains them all, the longest first, those that go on from others last; gives `summarize` of their scores.

    Raises the first error of one.
    """
    found: dict[Combination, dict[str, Scores]] = {}
    for is_finetuned in (False, True):
        jobs = [job for job in listed if job.is_finetuned == is_finetuned]
        jobs.sort(key=lambda job: -sum(plan.num_updates * plan.level for plan in job.plans))
        for done in engine.run(train_combination, jobs) if jobs else ():
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
    deviation over the seeds (n - 1), None of a single one. One that went on from another has "finetuned": true.
    """
    by_tasks: dict[tuple[tuple[str, ...], bool], list[tuple[int, dict[str, Scores]]]] = {}
    for job, scores in results:
        by_tasks.setdefault((job.tasks, job.is_finetuned), []).append((job.seed, scores))
    return [
        {
            "tasks": list(tasks),
            **({"finetuned": True} if is_finetuned else {}),
            "seeds": [seed for seed, _ in found],
            "scores": {
                task: {metric: spread_of([scores[task][metric] for _, scores in found]) for metric in found[0][1][task]}
                for task in tasks
            },
        }
        for (tasks, is_finetuned), found in by_tasks.items()
    ]


def spread_of(values: list[float]) -> dict[str, Any]:
    """{"mean", "spread", "values"} of one score over several seeds."""
    return {
        "mean": statistics.fmean(values),
        "spread": statistics.stdev(values) if len(values) > 1 else None,
        "values": values,
    }
