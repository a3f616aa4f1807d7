"""Trials of the layer search: each trains one task alone with one cell of its grid and scores it on validation data.

A trial is an ordinary training in its own folder, so a stopped search goes on where it stopped and the winner's
checkpoint is the single-task model.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from vltool.config import RunConfig
from vltool.errors import TrainingError, VltoolError
from vltool.json_files import write_json
from vltool.search.grid import Cell, at_share, with_settings
from vltool.structures import TaskPlan
from vltool.tasks.task import Scores
from vltool.training import checkpoint
from vltool.training.inputs import load_inputs_once
from vltool.training.lock import only_process_in
from vltool.training.run import RunInputs, run_identity, train
from vltool.training.run_log import read_log
from vltool.training.schedule import JointPlan

PATIENCE_S = 60.0


class SearchStopped(VltoolError):
    """The hours of a search are over; its trials go on from their checkpoints when it is run again."""


@dataclass(frozen=True)
class Trial:
    """One cell of a task's grid with one seed, to be trained in `folder`."""

    cell: Cell
    seed: int
    folder: str

    @property
    def task(self) -> str:
        return self.cell.plan.task

    @property
    def name(self) -> str:
        """Of its folder; seed 0 has none in its name."""
        return Path(self.folder).name


@dataclass(frozen=True)
class Job:
    """A trial to be trained until `share` of its updates is done.

    rung: how often the trial is compared before. config: the run's, as JSON, for the process that does it. until: time
    of day (seconds since 1970) at which it stops; 0 never.
    """

    trial: Trial
    rung: int
    share: float
    config: str = field(repr=False)
    until: float = 0.0

    @property
    def plan(self) -> TaskPlan:
        return at_share(self.trial.cell, self.share)


@dataclass(frozen=True)
class TrialResult:
    """What a trial reached on validation data after a share of its updates, or why it failed."""

    trial: Trial
    rung: int
    num_updates: int
    metric: str
    scores: Scores
    seconds: float
    error: str = ""

    @property
    def score(self) -> float:
        return self.scores.get(self.metric, float("-inf"))


def make_trial(config: RunConfig, cell: Cell, seed: int) -> Trial:
    """The trial of a cell in its folder below the run's."""
    name = cell.name + (f"-seed{seed}" if seed else "")
    return Trial(cell, seed, str(config.out_dir / "search" / cell.plan.task / name))


def run_job(job: Job) -> TrialResult:
    """Train and score a trial; runs in a process of its own. The features are those that all trials share."""
    inputs = load_inputs_once(job.config)
    config = replace(with_settings(inputs.config, job.trial.cell.settings), seed=job.trial.seed)
    return train_trial(replace(inputs, config=config), job)


def train_trial(inputs: RunInputs, job: Job) -> TrialResult:
    """The same with what is read already. A training that went less far in the folder goes on."""
    plan = JointPlan((job.plan,), inputs.config.training.cycle_updates)
    folder = Path(job.trial.folder)
    task = job.trial.task
    metric = inputs.prepared.tasks[task].main_metric
    wait_until_free(folder)
    with only_process_in(folder):
        passed = go_on(inputs, plan, folder)
    if passed is not None and not passed:
        folder = folder / f"u{plan.num_updates}"  # its log was not kept: train the shorter one again, beside
    elif passed:
        return TrialResult(job.trial, job.rung, plan.updates_before(), metric, passed, 0.0)

    def report(line: dict[str, Any]) -> None:
        if job.until and time.time() > job.until and line["kind"] == "loss":
            raise SearchStopped(f"{folder}: stopped, the hours of the search are over")

    result = train(inputs, plan, folder, report=report)
    return TrialResult(job.trial, job.rung, result.num_updates, metric, result.val[task], result.seconds)


def go_on(inputs: RunInputs, plan: JointPlan, folder: Path) -> Scores | None:
    """Let the training in `folder` be the beginning of `plan`, from which it differs in its number of updates alone.

    Batches, dropout and learning rate depend on the number of an update and not on how many will follow, so a training
    of one task is the beginning of every longer one. Where the training has gone further already, gives the scores
    that it had after `plan`, or none ({}) if its log does not hold them.
    """
    path = folder / "checkpoint" / "run.json"
    checkpoint.recover(path.parent)
    if not path.exists():
        return None
    run = checkpoint.load(path.parent, resuming=True).run
    wanted = json.loads(json.dumps(run_identity(inputs, plan)))
    found = run.get("identity", {})
    if found == wanted or _but_length(found) != _but_length(wanted):
        return None
    if run["cycle"] <= plan.num_cycles:
        write_json(path, {**run, "identity": wanted, "plan": [asdict(task) for task in plan.tasks]}, indent=1)
        return None
    for line in read_log(folder):
        if line["kind"] == "scores" and line["split"] == "val" and line["cycle"] == plan.num_cycles - 1:
            return dict(line["scores"])
    return {}


def _but_length(identity: dict[str, Any]) -> dict[str, Any]:
    plan = [{key: value for key, value in task.items() if key != "num_updates"} for task in identity.get("plan", [])]
    return {**identity, "plan": plan}


def wait_until_free(folder: Path) -> None:
    """Return when no process trains in `folder`: one whose parent or node was lost may take a moment to end."""
    started = time.monotonic()
    while True:
        try:
            with only_process_in(folder):
                return
        except TrainingError:
            if time.monotonic() - started > PATIENCE_S:
                raise
            time.sleep(0.5)
