"""How sure the difference of two runs is: paired bootstrap intervals of the items that both were scored on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vltool.evaluation.prediction_files import items_path, read_items
from vltool.metrics.bootstrap import Interval, difference_intervals
from vltool.metrics.item_scores import ItemScores
from vltool.report.run_files import RunFiles

BEST_MODELS = ("joint", "single")
"""Whose scores stand for a run: those of the joint model where it has one."""


@dataclass(frozen=True)
class Differences:
    """A later run less the first one. intervals: task → metric → interval; without: task → why it has none."""

    name: str
    first: str
    intervals: Mapping[str, Mapping[str, Interval]] = field(default_factory=dict)
    without: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        tasks = {
            task: {name: {"difference": i.value, "interval": [i.low, i.high]} for name, i in found.items()}
            for task, found in self.intervals.items()
        }
        return {"run": self.name, "less": self.first, "tasks": tasks, "without": dict(self.without)}


def run_names(runs: Sequence[RunFiles]) -> list[str]:
    """A name for each run, its own where no earlier run has it."""
    names: list[str] = []
    for place, files in enumerate(runs):
        names.append(files.config.name if files.config.name not in names else f"{files.config.name} ({place + 1})")
    return names


def differences_from_first(
    runs: Sequence[RunFiles],
    *,
    split: str = "test",
    draws: int = 1000,
    seed: int = 0,
    say: Callable[[str], None] | None = None,
) -> list[Differences]:
    """Every later run compared with the first one, on the tasks that both have. Raises DataError for damaged items."""
    names = run_names(runs)
    found = []
    for name, files in list(zip(names, runs, strict=True))[1:]:
        intervals, without = {}, {}
        for task in runs[0].task_names:
            if task not in files.task_names:
                continue
            (say or (lambda text: None))(f"comparing {name} with {names[0]} on {task}/{split}")
            first, second = items_of(runs[0], task, split), items_of(files, task, split)
            if first is None or second is None:
                lacking = names[0] if first is None else name
                without[task] = f"{lacking} has no scores of single items (the stage eval leaves them)"
            elif rules_of(runs[0], task, split) != rules_of(files, task, split):
                without[task] = "the runs were scored by different rules"
            elif not first.same_items(second):
                without[task] = "the runs were scored on different items"
            else:
                intervals[task] = difference_intervals(first, second, draws=draws, seed=seed)
        found.append(Differences(name, names[0], intervals, without))
    return found


def items_of(files: RunFiles, task: str, split: str) -> ItemScores | None:
    """The items of the model that stands for a run on a task; None if eval left none."""
    model = _model_of(files, task, split)
    return None if model is None else read_items(items_path(files.config.out_dir / "eval", f"{model}-{split}-{task}"))


def rules_of(files: RunFiles, task: str, split: str) -> Any:
    """The rules that the scores of a run follow on a task, as eval wrote them."""
    model = _model_of(files, task, split)
    return None if model is None else files.evaluations[model, split].get("rules", {}).get(task)


def _model_of(files: RunFiles, task: str, split: str) -> str | None:
    found = (model for model in BEST_MODELS if files.evaluations.get((model, split), {}).get("tasks", {}).get(task))
    return next(found, None)
