"""The tables of the page. Each function gives a Table, or a sentence that says what is missing and what makes it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from vltool.config import RunConfig
from vltool.features.header import region_source
from vltool.metrics.bootstrap import Interval
from vltool.registry import TASKS, resolve
from vltool.report.differences import Differences, run_names
from vltool.report.intervals import NONE, RunIntervals
from vltool.report.run_files import RunFiles
from vltool.report.table import Table, best_places, written

BASELINES = {"": "Chance", "majority": "Most common answer", "question_only": "Question only"}
"""What ignorance reaches, by the prefix of its metric names; without a prefix: a random order of the candidates."""

UPPER_BOUND = "upper_bound"
BOUNDED = re.compile(r"recall@\d+|accuracy")  # what the upper bound bounds; one type of phrase has its own
MODELS = {"single": "Single task", "joint": "Joint"}
Scores = dict[str, float]
Bounds = dict[tuple[int, str], tuple[float, float]]
"""(row, column) of a table → the bounds of its number."""


def summary(files: RunFiles, split: str = "test", *, intervals: RunIntervals = NONE) -> Table | str:
    """single | joint | difference | ignorance | upper bound, for each task and metric of one split."""
    rows: list[dict[str, Any]] = []
    groups: list[tuple[str, int, bool]] = []
    bounds: Bounds = {}
    for task in files.task_names:
        scores, ignorance = task_scores(files, task, split)
        found = [_summary_row(metric, scores, ignorance) for metric in _metrics(scores)]
        for place, row in enumerate(found, start=len(rows)):
            bounds |= _summary_bounds(place, row["Metric"], task, split, intervals)
        if found:
            rows += found
            groups.append((task, len(found), False))
    if not rows:
        return f"Nothing has been scored on the {split} split yet. The stage eval does it."
    frame = pd.DataFrame(rows).dropna(axis="columns", how="all")
    contenders = [column for column in (*MODELS.values(), *BASELINES.values()) if column in frame]
    bold = set().union(
        *(_best(frame, place, contenders, str(frame["Metric"].iloc[place])) for place in range(len(frame)))
    )
    certain = {key for key, (low, high) in bounds.items() if key[1] == "Difference" and not low <= 0 <= high}
    return Table(
        f"Scores on the {split} split",
        frame,
        note=f"{_summary_note(files, split, list(frame.columns), list(frame['Metric']))} {intervals.note}".rstrip(),
        groups=tuple(groups),
        bold=frozenset(bold | certain),
        signed=frozenset({"Difference"}),
        bounds=bounds,
    )


def _summary_bounds(place: int, metric: str, task: str, split: str, intervals: RunIntervals) -> Bounds:
    found = {heading: intervals.bounds(model, split, task, metric) for model, heading in MODELS.items()}
    found["Difference"] = intervals.difference(split, task, metric)
    return {(place, column): bounds for column, bounds in found.items() if bounds is not None}


def task_scores(files: RunFiles, task: str, split: str) -> tuple[dict[str, Scores], Scores]:
    """model (single, joint) → its scores, and those of ignorance, as `eval` wrote them; empty where it did not."""
    records = {model: files.evaluations.get((model, split), {}) for model in MODELS}
    ignorance: Scores = {}
    for record in records.values():
        ignorance |= record.get("ignorance", {}).get(task, {})
    return {model: record.get("tasks", {}).get(task, {}) for model, record in records.items()}, ignorance


def baselines(ignorance: Scores, metric: str) -> dict[str, float | None]:
    """Heading → what ignorance reaches in one metric."""
    return {heading: ignorance.get(f"{prefix}.{metric}".lstrip(".")) for prefix, heading in BASELINES.items()}


def _summary_row(metric: str, scores: dict[str, Scores], ignorance: Scores) -> dict[str, Any]:
    row: dict[str, Any] = {"Metric": metric}
    row |= {heading: scores[model].get(metric) for model, heading in MODELS.items()}
    single, joint = (row[heading] for heading in MODELS.values())
    row["Difference"] = joint - single if single is not None and joint is not None else None
    row |= baselines(ignorance, metric)
    bounds = [found[UPPER_BOUND] for found in scores.values() if UPPER_BOUND in found]
    row["Upper bound"] = bounds[-1] if bounds and BOUNDED.fullmatch(metric) else None
    return row


def _summary_note(files: RunFiles, split: str, columns: list[str], metrics: list[str]) -> str:
    parts = ["Percent; the best of each row is bold, ignorance included."]
    if "rsum" in metrics:
        parts.append("rsum: the sum of the six recalls.")
    if any(lower_is_better(metric) for metric in metrics):
        parts.append("Ranks: places, the lower the better.")
    if "Difference" in columns:
        parts.append("Difference: joint less single task, in points; bold where its interval leaves 0 out.")
    if BASELINES[""] in columns:
        parts.append("Chance: a random order of the pictures, captions or regions.")
    if "Upper bound" in columns:
        parts.append("Upper bound: a region that counts as right is among the candidates.")
    parts += region_notes(files.config, files.store_header)
    used = {row["task"]: row["used"] for row in (files.counts or {}).get("examples", []) if row["split"] == split}
    if used:
        parts.append("Scored: " + ", ".join(f"{count:,} examples of {task}" for task, count in used.items()) + ".")
    return " ".join(parts)


def region_notes(config: RunConfig, header: Mapping[str, Any] | None) -> list[str]:
    """Whose regions the tasks that find one choose from, and by which rules that is right; none of other tasks."""
    told = []
    for name, settings in config.tasks.items():
        kind = resolve(TASKS, settings.type or name, kind="task")
        if kind.chooses_regions:
            rules = kind(name, {}, options=settings.options).rules()
            told.append(f"{name} ({', '.join(f'{key} {value}' for key, value in rules.items())})")
    if not told:
        return []
    return [f"Regions of {region_source(header) if header else 'a store that is not there'}: {', '.join(told)}."]


def _metrics(scores: dict[str, Scores]) -> list[str]:
    return [name for name in dict.fromkeys(k for found in scores.values() for k in found) if name != UPPER_BOUND]


def lower_is_better(metric: str) -> bool:
    """Ranks are best when small, all other scores when large."""
    return metric.endswith("_rank")


def _best(frame: pd.DataFrame, place: int, columns: list[str], metric: str) -> set[tuple[int, str]]:
    return best_places(frame, place, columns, decimals=1, lower=lower_is_better(metric))


def comparison(
    runs: Sequence[RunFiles],
    split: str = "test",
    *,
    differences: Sequence[Differences] = (),
    intervals: Sequence[RunIntervals] = (),
) -> Table | str:
    """The scores of several runs in columns, of the joint model where a run has one and of single tasks elsewhere.

    differences: of later runs from the first, a column each with its interval. intervals: of each run's scores.
    """
    columns: dict[str, dict[tuple[str, str], float]] = {}
    for name, files in zip(run_names(runs), runs, strict=True):
        columns[name] = {
            (task, metric): value
            for model in MODELS  # the joint model's scores come last and stay
            for task, scores in files.evaluations.get((model, split), {}).get("tasks", {}).items()
            for metric, value in scores.items()
        }
    keys = list(dict.fromkeys(key for found in columns.values() for key in found))
    if not keys:
        return f"None of the runs has been scored on the {split} split yet."
    rows = [
        {"Task": task, "Metric": metric, **{name: found.get((task, metric)) for name, found in columns.items()}}
        for task, metric in keys
    ]
    frame = pd.DataFrame(rows)
    bold = set().union(*(_best(frame, place, list(columns), str(rows[place]["Metric"])) for place in range(len(rows))))
    note = "Percent. Joint model where the run has one, single-task models elsewhere. Compare only on the same data."
    for found in differences:
        own = [found.intervals.get(task, {}).get(metric) for task, metric in keys]
        frame[f"{found.name} − {found.first}"] = [_difference(interval) for interval in own]
        note += "".join(f" No interval for {task}: {reason}." for task, reason in found.without.items())
    if differences:
        note += " Differences with 95 % intervals, paired bootstrap of the items; bold where it leaves 0 out."
        bold |= _certain(differences, keys)
    bounds = _run_bounds(runs, split, keys, intervals)
    note += f" {next((found.note for found in intervals if found.note), '')}".rstrip()
    return Table(f"Scores of the runs on their {split} splits", frame, note=note, bold=frozenset(bold), bounds=bounds)


def _run_bounds(
    runs: Sequence[RunFiles], split: str, keys: Sequence[tuple[str, str]], intervals: Sequence[RunIntervals]
) -> Bounds:
    found: Bounds = {}
    for name, own in zip(run_names(runs), intervals, strict=False):
        for place, (task, metric) in enumerate(keys):
            for model in MODELS:  # as in the columns: the joint model's come last and stay
                bounds = own.bounds(model, split, task, metric)
                if bounds is not None:
                    found[place, name] = bounds
    return found


def _difference(interval: Interval | None) -> str | None:
    if interval is None:
        return None
    value, low, high = (written(number, signed=True) for number in (interval.value, interval.low, interval.high))
    return f"{value} ({low} to {high})"


def _certain(differences: Sequence[Differences], keys: Sequence[tuple[str, str]]) -> set[tuple[int, str]]:
    places = set()
    for found in differences:
        for place, (task, metric) in enumerate(keys):
            interval = found.intervals.get(task, {}).get(metric)
            if interval is not None and not interval.low <= 0 <= interval.high:
                places.add((place, f"{found.name} − {found.first}"))
    return places
