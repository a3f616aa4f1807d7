"""Trials of the layer search: each trains one task alone with one cell of its grid and scores it on validation data.

A trial is an ordinary training in its own folder, so a stopped search goes on where it stopped and the winner's
checkpoint is the single-task model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vltool.config import RunConfig, dump
from vltool.engines.engine import Engine
from vltool.errors import VltoolError
from vltool.search.grid import task_grid
from vltool.structures import TaskPlan
from vltool.tasks.network import encoder_options
from vltool.tasks.task import Scores


@dataclass(frozen=True)
class Trial:
    """One cell of a task's grid, to be trained in `folder`."""

    plan: TaskPlan
    folder: str
    config: str
    """The configuration as JSON, for the process that runs the trial."""

    @property
    def name(self) -> str:
        return cell_name(self.plan)


@dataclass(frozen=True)
class TrialResult:
    """What a trial reached on validation data, or why it failed."""

    plan: TaskPlan
    folder: str
    metric: str
    scores: Scores
    seconds: float
    error: str = ""

    @property
    def score(self) -> float:
        return self.scores.get(self.metric, float("-inf"))


def cell_name(plan: TaskPlan) -> str:
    """Name of a cell's folder, as in l2-b64-u400-s200."""
    return f"l{plan.level}-b{plan.batch_size}-u{plan.num_updates}-s{plan.step_size}"


def list_trials(config: RunConfig, tasks: list[str]) -> list[Trial]:
    """Every trial of a search, the slowest first. Raises ConfigError for a grid that cannot be."""
    import json

    num_levels = encoder_options(config.encoder).num_levels
    text = json.dumps(dump(config))
    trials = []
    for task in tasks:
        for plan in task_grid(config, task, num_levels=num_levels):
            folder = config.out_dir / "search" / task / cell_name(plan)
            trials.append(Trial(plan, str(folder), text))
    return sorted(trials, key=lambda trial: -trial.plan.level * trial.plan.num_updates * trial.plan.batch_size)


def run_trials(
    trials: list[Trial], engine: Engine, *, on_done: Callable[[TrialResult], None] | None = None
) -> list[TrialResult]:
    """Results in the order of `trials`. A trial that fails is recorded with its error and the search goes on."""
    results: dict[Trial, TrialResult] = {}
    for done in engine.run(run_trial, trials):
        if done.error is not None:
            if not isinstance(done.error, VltoolError):
                raise done.error
            result = TrialResult(done.job.plan, done.job.folder, "", {}, 0.0, error=str(done.error))
        else:
            assert done.result is not None
            result = done.result
        results[done.job] = result
        if on_done:
            on_done(result)
    return [results[trial] for trial in trials]


def run_trial(trial: Trial) -> TrialResult:
    """Train and score one cell; runs in a process of its own."""
    from vltool.training.inputs import load_inputs_once
    from vltool.training.run import train
    from vltool.training.schedule import JointPlan

    inputs = load_inputs_once(trial.config)
    plan = JointPlan((trial.plan,), inputs.config.training.cycle_updates)
    result = train(inputs, plan, Path(trial.folder))
    task = inputs.prepared.tasks[trial.plan.task]
    return TrialResult(trial.plan, trial.folder, task.main_metric, result.val[trial.plan.task], result.seconds)
