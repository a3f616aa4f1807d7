"""Tables in the layouts of the paper's, this run's rows above the published ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from vltool.report.combination_table import combination_table
from vltool.report.intervals import NONE, RunIntervals
from vltool.report.published import DATA, SOURCE, TABLES, PublishedTable
from vltool.report.run_files import RunFiles, Training
from vltool.report.table import Table
from vltool.report.tables import MODELS, Bounds, Scores


def paper_tables(files: RunFiles, *, intervals: RunIntervals = NONE) -> list[tuple[str, Table]]:
    """(anchor, table) in the layouts of the paper's tables, for the kinds of task that the run has."""
    types = {files.task_type(task) for task in files.task_names}
    return [
        (published.key, _paper_table(files, published, intervals))
        for published in TABLES
        if types & {column[0] for column in published.columns}
    ]


def _paper_table(files: RunFiles, published: PublishedTable, intervals: RunIntervals) -> Table:
    if published.key == "table-1" and files.combinations and not files.config.combinations.groups:
        return combination_table(
            files.combinations, name=files.config.name, type_of=files.task_type, num_tasks=len(files.task_names)
        )
    own = _own_rows(files, published)
    bounds = _own_bounds(files, published, [model for model, _, _ in own], intervals)
    headings = [heading for _, _, heading in published.columns]
    rows: list[dict[str, Any]] = [
        {"Trained on": name, **dict(zip(headings, values, strict=True))} for _, name, values in own
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
        note=_paper_note(files, published, bool(own), bounds, intervals),
        decimals=dict.fromkeys(headings, published.decimals),
        groups=(
            (f"This run ({files.config.name})", len(own), False),
            (f"Published ({SOURCE}), on {DATA}", len(published.rows), True),
        ),
        bold=frozenset(bold),
        bounds=bounds,
        stacked=True,
    )


def _paper_note(files: RunFiles, published: PublishedTable, has_own: bool, bounds: Any, intervals: RunIntervals) -> str:
    if not has_own:
        return f"This run has no scores for this table yet ({published.split} split)."
    if published.split == "val":
        return " ".join(files.val_marks())
    return intervals.note if bounds else ""


def _own_rows(files: RunFiles, published: PublishedTable) -> list[tuple[str, str, list[float | None]]]:
    """(model, name, values); the model is empty for validation scores."""
    found = [("", *row) for row in val_scores(files)] if published.split == "val" else test_scores(files)
    rows = [
        (model, name, [_score(files, scores, column) for column in published.columns]) for model, name, scores in found
    ]
    return [row for row in rows if any(value is not None for value in row[2])]


def _score(files: RunFiles, scores: dict[str, Scores], column: tuple[str, str, str]) -> float | None:
    task = _task_of(files, scores, column)
    return None if task is None else scores[task].get(column[1])


def _task_of(files: RunFiles, known: Iterable[str], column: tuple[str, str, str]) -> str | None:
    return next((task for task in files.task_names if files.task_type(task) == column[0] and task in known), None)


def _own_bounds(files: RunFiles, published: PublishedTable, models: Sequence[str], intervals: RunIntervals) -> Bounds:
    found: Bounds = {}
    for place, model in enumerate(models):
        for column in published.columns:
            task = _task_of(files, files.task_names, column)
            bounds = intervals.bounds(model, published.split, task, column[1]) if task else None
            if bounds is not None:
                found[place, column[2]] = bounds
    return found


def val_scores(files: RunFiles) -> list[tuple[str, dict[str, Scores]]]:
    """Validation scores of the final weights: the winners of the search, then the trainings from few tasks to all."""
    winners = {task: files.chosen_trial(task) for task in files.task_names}
    single = {task: trial.val[task] for task, trial in winners.items() if trial is not None and trial.val}
    trainings = sorted(files.trainings.values(), key=lambda found: (len(found.val or {}), found.name))
    return [("single tasks", single)] * bool(single) + [(_trained_on(t), t.val) for t in trainings if t.val]


def test_scores(files: RunFiles) -> list[tuple[str, str, dict[str, Scores]]]:
    """(model, its name, test scores as `eval` wrote them)."""
    names = {"single": "single tasks", "joint": "all tasks of the run"}
    return [
        (model, names[model], files.evaluations[model, "test"]["tasks"])
        for model in MODELS
        if (model, "test") in files.evaluations
    ]


def _trained_on(training: Training) -> str:
    return "all tasks of the run" if training.name == "joint" else training.name.replace("+", " + ")
