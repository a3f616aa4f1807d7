"""The tables of the page. Each function gives a Table, or a sentence that says what is missing and what makes it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pandas as pd

from vltool.metrics.bootstrap import Interval
from vltool.report.combination_table import combination_table
from vltool.report.differences import Differences, run_names
from vltool.report.published import DATA, SOURCE, TABLES, PublishedTable
from vltool.report.run_files import RunFiles, Training
from vltool.report.table import Table, best_places, written

BASELINES = {"": "Chance", "majority": "Most common answer", "question_only": "Question only"}
"""What ignorance reaches, by the prefix of its metric names; without a prefix: a random order of the candidates."""

UPPER_BOUND = "upper_bound"
RECALL = re.compile(r"recall@\d+")  # what the upper bound bounds; recall of one type of phrase has its own
MODELS = {"single": "Single task", "joint": "Joint"}
Scores = dict[str, float]


def summary(files: RunFiles, split: str = "test") -> Table | str:
    """single | joint | difference | ignorance | upper bound, for each task and metric of one split."""
    rows, groups = [], []
    for task in files.task_names:
        scores, ignorance = task_scores(files, task, split)
        found = [_summary_row(metric, scores, ignorance) for metric in _metrics(scores)]
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
    return Table(
        f"Scores on the {split} split",
        frame,
        note=_summary_note(files, split, list(frame.columns), list(frame["Metric"])),
        groups=tuple(groups),
        bold=frozenset(bold),
        signed=frozenset({"Difference"}),
    )


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
    row["Upper bound"] = bounds[-1] if bounds and RECALL.fullmatch(metric) else None
    return row


def _summary_note(files: RunFiles, split: str, columns: list[str], metrics: list[str]) -> str:
    parts = ["Percent; the best of each row is bold, ignorance included."]
    if "rsum" in metrics:
        parts.append("rsum: the sum of the six recalls.")
    if any(lower_is_better(metric) for metric in metrics):
        parts.append("Ranks: places, the lower the better.")
    if "Difference" in columns:
        parts.append("Difference: joint less single task, in points.")
    if BASELINES[""] in columns:
        parts.append("Chance: a random order of the pictures, captions or regions.")
    if "Upper bound" in columns:
        parts.append("Upper bound: a region that counts as right is among the candidates.")
    used = {row["task"]: row["used"] for row in (files.counts or {}).get("examples", []) if row["split"] == split}
    if used:
        parts.append("Scored: " + ", ".join(f"{count:,} examples of {task}" for task, count in used.items()) + ".")
    return " ".join(parts)


def _metrics(scores: dict[str, Scores]) -> list[str]:
    return [name for name in dict.fromkeys(k for found in scores.values() for k in found) if name != UPPER_BOUND]


def lower_is_better(metric: str) -> bool:
    """Ranks are best when small, all other scores when large."""
    return metric.endswith("_rank")


def _best(frame: pd.DataFrame, place: int, columns: list[str], metric: str) -> set[tuple[int, str]]:
    return best_places(frame, place, columns, decimals=1, lower=lower_is_better(metric))


def paper_tables(files: RunFiles) -> list[tuple[str, Table]]:
    """(anchor, table) in the layouts of the paper's tables, for the kinds of task that the run has."""
    types = {files.task_type(task) for task in files.task_names}
    return [
        (published.key, _paper_table(files, published))
        for published in TABLES
        if types & {column[0] for column in published.columns}
    ]


def _paper_table(files: RunFiles, published: PublishedTable) -> Table:
    if published.key == "table-1" and files.combinations and not files.config.combinations.groups:
        return combination_table(
            files.combinations, name=files.config.name, type_of=files.task_type, num_tasks=len(files.task_names)
        )
    own = _own_rows(files, published)
    headings = [heading for _, _, heading in published.columns]
    rows: list[dict[str, Any]] = [
        {"Trained on": name, **dict(zip(headings, values, strict=True))} for name, values in own
    ]
    rows += [{"Trained on": name, **dict(zip(headings, values, strict=True))} for name, values in published.rows]
    frame = pd.DataFrame(rows).astype(dict.fromkeys(headings, float))
    bold: set[tuple[int, str]] = set()
    for heading in headings:
        column = frame[heading].iloc[: len(own)].round(published.decimals)
        if column.notna().sum() > 1:
            bold |= {(place, heading) for place, value in enumerate(column) if value == column.max()}
    return Table(
        published.title,
        frame,
        note="" if own else f"This run has no scores for this table yet ({published.split} split).",
        decimals=dict.fromkeys(headings, published.decimals),
        groups=(
            (f"This run ({files.config.name})", len(own), False),
            (f"Published ({SOURCE}), on {DATA}", len(published.rows), True),
        ),
        bold=frozenset(bold),
    )


def _own_rows(files: RunFiles, published: PublishedTable) -> list[tuple[str, list[float | None]]]:
    found = val_scores(files) if published.split == "val" else test_scores(files)
    rows = [(name, [_score(files, scores, column) for column in published.columns]) for name, scores in found]
    return [(name, values) for name, values in rows if any(value is not None for value in values)]


def _score(files: RunFiles, scores: dict[str, Scores], column: tuple[str, str, str]) -> float | None:
    of_type = [task for task in files.task_names if files.task_type(task) == column[0] and task in scores]
    return scores[of_type[0]].get(column[1]) if of_type else None


def val_scores(files: RunFiles) -> list[tuple[str, dict[str, Scores]]]:
    """Validation scores of the final weights: the winners of the search, then the trainings from few tasks to all."""
    winners = {task: files.chosen_trial(task) for task in files.task_names}
    single = {task: trial.val[task] for task, trial in winners.items() if trial is not None and trial.val}
    trainings = sorted(files.trainings.values(), key=lambda found: (len(found.val or {}), found.name))
    return [("single tasks", single)] * bool(single) + [(_trained_on(t), t.val) for t in trainings if t.val]


def test_scores(files: RunFiles) -> list[tuple[str, dict[str, Scores]]]:
    """Test scores as `eval` wrote them."""
    names = {"single": "single tasks", "joint": "all tasks of the run"}
    return [
        (names[model], files.evaluations[model, "test"]["tasks"])
        for model in MODELS
        if (model, "test") in files.evaluations
    ]


def _trained_on(training: Training) -> str:
    return "all tasks of the run" if training.name == "joint" else training.name.replace("+", " + ")


def comparison(
    runs: Sequence[RunFiles], split: str = "test", *, differences: Sequence[Differences] = ()
) -> Table | str:
    """The scores of several runs in columns, of the joint model where a run has one and of single tasks elsewhere.

    differences: of later runs from the first, a column each with its interval.
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
    return Table(f"Scores of the runs on their {split} splits", frame, note=note, bold=frozenset(bold))


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
