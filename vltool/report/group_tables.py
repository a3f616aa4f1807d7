"""Which groups of tasks help which, in the layouts of 12-in-1: together against apart, and pair by pair.

Rows are those of combinations.json (training/combinations.py), of validation data. Differences are taken seed by seed.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from vltool.config import RunConfig
from vltool.registry import TASKS, resolve
from vltool.report.table import Table, written

Values = list[float]
"""One score for each seed."""


@dataclass(frozen=True)
class GroupScores:
    """Scores of sets of tasks. groups: name → tasks; metrics: task → the score that is averaged over tasks."""

    rows: Sequence[Mapping[str, Any]]
    tasks: tuple[str, ...]
    groups: Mapping[str, tuple[str, ...]]
    metrics: Mapping[str, str]

    def of(self, task: str, together: Sequence[str], *, finetuned: bool = False) -> Values | None:
        """A task's scores where it was trained with `together`; None if there was no such training."""
        for row in self.rows:
            if set(row["tasks"]) == set(together) and bool(row.get("finetuned")) == finetuned:
                found: Values = row["scores"][task][self.metrics[task]]["values"]
                return found
        return None

    def gain(self, group: str, with_tasks: Sequence[str]) -> Values | None:
        """Percent by which a group's scores rise with further tasks against the group alone: a mean over its tasks."""
        gains = []
        for task in self.groups[group]:
            alone, together = self.of(task, self.groups[group]), self.of(task, [*self.groups[group], *with_tasks])
            if alone is None or together is None or min(alone) <= 0:
                return None
            gains.append([100 * (b - a) / a for a, b in zip(alone, together, strict=True)])
        return mean_of(gains)


def group_tables(config: RunConfig, rows: Sequence[Mapping[str, Any]]) -> list[Table]:
    """The tables of a run that has groups; none without."""
    if not config.combinations.groups:
        return []
    metrics = {}
    for name, task in config.tasks.items():
        kind = resolve(TASKS, task.type or name, kind="task")
        metrics[name] = kind.averaged_metric or kind.main_metric
    scores = GroupScores(rows, tuple(config.tasks), config.combinations.groups, metrics)
    return [together_and_apart(scores), who_helps_whom(scores)]


def together_and_apart(scores: GroupScores) -> Table:
    """Each task alone, with its group, with all, and fine-tuned from all; and their averages over the tasks."""
    group_of = {task: group for group, tasks in scores.groups.items() for task in tasks}
    ordered = [task for tasks in scores.groups.values() for task in tasks]
    ordered += [task for task in scores.tasks if task not in group_of]
    columns: dict[str, dict[str, Values | None]] = {
        "Alone": {task: scores.of(task, [task]) for task in ordered},
        "With its group": {
            task: scores.of(task, scores.groups[group_of[task]]) if task in group_of else None for task in ordered
        },
        "With all": {task: scores.of(task, scores.tasks) for task in ordered},
        "Fine-tuned from all": {task: scores.of(task, [task], finetuned=True) for task in ordered},
    }
    columns = {heading: found for heading, found in columns.items() if any(found.values())}
    frame = [
        {"Task": task, "Metric": scores.metrics[task], **{head: spread(found[task]) for head, found in columns.items()}}
        for task in ordered
    ]
    averages = {head: average(list(found.values())) for head, found in columns.items()}
    frame.append({"Task": "Average", "Metric": "", **{head: spread(values) for head, values in averages.items()}})
    base = averages.get("Alone")
    if base is not None:
        differences = {
            head: [b - a for a, b in zip(base, values, strict=True)] if values else None
            for head, values in averages.items()
        }
        frame.append(
            {"Task": "Average less alone", "Metric": ""}
            | {head: spread(None if head == "Alone" else found, signed=True) for head, found in differences.items()}
        )
    counts = [(name, len(tasks), False) for name, tasks in scores.groups.items()]
    rest = len(ordered) - sum(count for _, count, _ in counts)
    counts += [("no group", rest, False)] if rest else []
    return Table(
        "Groups of tasks together and apart",
        pd.DataFrame(frame),
        note=f"Percent on validation data, {_seeds(scores)}. An average needs every task.",
        groups=(*counts, ("all tasks", len(frame) - len(ordered), False)),
    )


def who_helps_whom(scores: GroupScores) -> Table:
    """How much each group gains by training together with each other group, relative to itself alone."""
    names = list(scores.groups)
    gains = {
        (group, other): scores.gain(group, scores.groups[other]) for group in names for other in names if group != other
    }
    frame = []
    for group in names:
        own = [gains[group, other] for other in names if other != group]
        frame.append(
            {"Group": group}
            | {f"With {other}": spread(gains.get((group, other)), signed=True) for other in names}
            | {"Average": spread(average(own), signed=True)}
        )
    given = {
        f"With {other}": spread(average([gains[group, other] for group in names if group != other]), signed=True)
        for other in names
    }
    frame.append({"Group": "Average", **given, "Average": ""})
    note = (
        "Change in percent of a group's scores on validation data when it is trained together with another group, "
        f"against the group alone: the mean over its tasks, {_seeds(scores)}. A column says how much its group gives "
        "to others."
    )
    return Table("Which group helps which", pd.DataFrame(frame), note=note)


def average(found: Sequence[Values | None]) -> Values | None:
    """Seed by seed; None unless all are there."""
    return mean_of([values for values in found if values]) if found and all(found) else None


def mean_of(found: Sequence[Values]) -> Values:
    """The mean of several scores, seed by seed."""
    return [statistics.fmean(values) for values in zip(*found, strict=True)]


def spread(values: Values | None, *, signed: bool = False) -> str:
    """ "72.51 ± 0.40", the standard deviation over the seeds; a dash for nothing."""
    if not values:
        return written(None)
    mean = written(statistics.fmean(values), 2, signed=signed)
    return mean if len(values) == 1 else f"{mean} ± {written(statistics.stdev(values), 2)}"


def _seeds(scores: GroupScores) -> str:
    seeds = len(scores.rows[0]["seeds"]) if scores.rows else 0
    return f"mean ± standard deviation over {seeds} seeds" if seeds > 1 else "one seed"
