"""What a run left on disk, read once; a part that was never made is None or empty, a damaged one is an error.

<out>/
  config.json  counts.json  plan.json
  stages/<stage>.json                            how long each stage took
  text/coverage.json
  search/trials.csv                              every trial of the search, the pruned and failed ones too
  search/<task>/<cell>/{log.jsonl,result.json}   single-task trainings
  training/<name>/{log.jsonl,result.json}        "joint", or task names joined by "+"
  combinations.json                              scores of every combination of tasks
  eval/<model>-<split>.json                      model: joint or single
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from vltool.config import STAGES, RunConfig
from vltool.errors import DataError, StoreError
from vltool.json_files import read_json
from vltool.registry import TASKS, resolve
from vltool.report import run_records
from vltool.report.run_records import AGAIN, checked
from vltool.search.table import read_trials
from vltool.splits.protocol import EVALUATED
from vltool.structures import TaskPlan
from vltool.training.run_log import read_log
from vltool.training.schedule import JointPlan
from vltool.yaml_files import read_yaml

SEARCHED = (
    *("task", "level", "batch_size", "num_updates", "step_size", "seed"),
    *("state", "trained_updates", "score", "seconds", "error"),
)
"""Columns of trials.csv that the page shows."""

MODELS = ("single", "joint")
"""Whose scores the stage eval writes."""


@dataclass(frozen=True)
class Training:
    """One training, of a search or of all tasks. val: None while it is not finished."""

    name: str
    folder: Path
    plan: JointPlan | None
    log: list[dict[str, Any]]
    val: dict[str, dict[str, float]] | None
    num_updates: int = 0
    seconds: float = 0.0
    seconds_waiting: float = 0.0

    @property
    def contaminated(self) -> dict[str, int]:
        """task → how many pictures of its val set trained this model, where any did."""
        return {str(line["task"]): int(line["contaminated"]) for line in self.log if line.get("contaminated")}

    def level(self, task: str) -> int | None:
        """l(i) of a task, if this training has it."""
        return next((item.level for item in self.plan.tasks if item.task == task), None) if self.plan else None


@dataclass(frozen=True)
class RunFiles:
    """Everything the report reads. trials: task → trainings; searched: the rows of trials.csv.

    evaluations: (model, split) → what `eval` wrote.
    """

    config: RunConfig
    plan: dict[str, Any] | None
    trials: dict[str, list[Training]]
    searched: list[dict[str, Any]]
    trainings: dict[str, Training]
    evaluations: dict[tuple[str, str], dict[str, Any]]
    combinations: list[dict[str, Any]] | None
    counts: dict[str, Any] | None
    coverage: dict[str, Any] | None
    store_header: dict[str, Any] | None
    stage_seconds: dict[str, float]

    @property
    def task_names(self) -> tuple[str, ...]:
        return tuple(self.config.tasks)

    def task_type(self, task: str) -> str:
        """The task's name in the registry."""
        return self.config.tasks[task].type or task if task in self.config.tasks else task

    def main_metric(self, task: str) -> str:
        """The score by which the task's trials are compared."""
        return str(resolve(TASKS, self.task_type(task), kind="task").main_metric)

    def chosen(self, task: str) -> dict[str, Any] | None:
        """What the plan says of a task's choice: metric, score, margin, spread, folder … or its preset."""
        return (self.plan or {}).get("chosen", {}).get(task)

    def chosen_trial(self, task: str) -> Training | None:
        """The winning trial itself, wherever the run's folder has been moved to."""
        chosen = self.chosen(task)
        cell = Path(chosen["folder"]).name if chosen and "folder" in chosen else ""
        return next((trial for trial in self.trials.get(task, []) if trial.name == cell), None)

    def val_marks(self) -> list[str]:
        """A sentence for every training and task whose validation pictures trained it: what is not clean is said."""
        winners = [found for task in self.task_names if (found := self.chosen_trial(task)) is not None]
        return [
            f"Not clean: {count:,} pictures of {task}/val trained {found.name}, so its validation scores there are no "
            f"test of anything unseen."
            for found in [*self.trainings.values(), *winners]
            for task, count in found.contaminated.items()
        ]

    def best_model(self, task: str) -> tuple[str, Training] | None:
        """(joint | tasks | single, training) with a checkpoint for `task`, of the most tasks; None if there is none."""
        several = sorted(self.trainings.values(), key=lambda found: -len(found.plan.tasks) if found.plan else 0)
        single = self.chosen_trial(task)
        for training in [*several, *([single] if single else [])]:
            if training.level(task) and (training.folder / "checkpoint" / "run.json").exists():
                return ("single" if training is single else training.name), training
        return None


def read_run(config: RunConfig) -> RunFiles:
    """What the run of `config` left below its folder. Raises DataError for a file that is there but damaged."""
    out = config.out_dir
    return RunFiles(
        config=config,
        plan=_read_plan(Path(config.training.plan)),
        trials={task: read_trainings(out / "search" / task) for task in config.tasks},
        searched=_searched(out / "search" / "trials.csv"),
        trainings={found.name: found for found in read_trainings(out / "training")},
        evaluations=_read_evaluations(out / "eval"),
        combinations=_read_json(out / "combinations.json", list[run_records.Combination]),
        counts=_read_json(out / "counts.json", run_records.Counts),
        coverage=_read_json(out / "text" / "coverage.json", dict[str, Any]),
        store_header=_read_store_header(config.features.store),
        stage_seconds=_stage_seconds(out / "stages"),
    )


def _read_plan(path: Path) -> dict[str, Any] | None:
    """The plan file, which is YAML where somebody wrote it by hand."""
    by_hand = path.suffix == ".yaml" and path.exists()
    if by_hand:
        return checked(read_yaml(path), run_records.Plan, path, next_step="See docs/search.md")
    return _read_json(path, run_records.Plan)


def read_trainings(folder: Path) -> list[Training]:
    """Every training below `folder`, by name."""
    if not folder.is_dir():
        return []
    return [read_training(found) for found in sorted(folder.iterdir()) if (found / "log.jsonl").exists()]


def read_training(folder: Path) -> Training:
    """One training's log and result; its plan also from the checkpoint while it is not finished."""
    finished = _read_json(folder / "result.json", dict[str, dict[str, Any]])
    source = finished or _read_json(folder / "checkpoint" / "run.json", dict[str, Any]) or {}
    identity = source.get("identity")
    result = finished.get("result", {}) if finished else {}
    return Training(
        name=folder.name,
        folder=folder,
        plan=None if identity is None else _plan(identity, folder),
        log=checked(read_log(folder), list[run_records.LogLine], folder / "log.jsonl"),
        val=result.get("val"),
        num_updates=int(result.get("num_updates", 0)),
        seconds=float(result.get("seconds", 0.0)),
        seconds_waiting=float(result.get("seconds_waiting", 0.0)),
    )


def _plan(identity: dict[str, Any], folder: Path) -> JointPlan:
    try:
        tasks = TypeAdapter(tuple[TaskPlan, ...]).validate_python(identity["plan"])
        return JointPlan(tasks, int(identity["cycle_updates"]))
    except (KeyError, ValidationError) as error:
        raise DataError(f"{folder}: not the result of a training ({error}). Train again, or remove it") from error


def _read_json(path: Path, shape: Any) -> Any:
    """What a stage wrote; None if it is not there. Raises DataError if it is damaged."""
    return checked(read_json(path, next_step=AGAIN), shape, path) if path.is_file() else None


def _read_evaluations(folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    found = {}
    for model, split in product(MODELS, EVALUATED):
        record = _read_json(folder / f"{model}-{split}.json", run_records.Evaluation)
        if record is not None:
            found[record["model"], record["split"]] = record
    return found


def _searched(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    frame = read_trials(path)
    if absent := [name for name in SEARCHED if name not in frame]:
        raise DataError(f"{path}: not a table of trials (no column {absent[0]!r}). Remove it and search again")
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]


def _read_store_header(path: str) -> dict[str, Any] | None:
    if not Path(path).exists():
        return None
    from vltool.features.store import RegionStore

    try:
        return dict(RegionStore.open(path).header)
    except StoreError as error:
        return {"error": str(error)}


def _stage_seconds(folder: Path) -> dict[str, float]:
    found = {name: _read_json(folder / f"{name}.json", run_records.StageMark) for name in STAGES}
    return {name: float(marker["seconds"]) for name, marker in found.items() if marker and "seconds" in marker}
