"""The tables of the layer search: what it chose for each task, and every trial."""

from __future__ import annotations

from typing import Any

import pandas as pd

from vltool.report.published import LEVELS, SOURCE
from vltool.report.run_files import RunFiles, Training
from vltool.report.table import Table
from vltool.search.trials import cell_name
from vltool.structures import TaskPlan


def levels(files: RunFiles) -> Table | str:
    """Which level each task reads, and by how much the validation score spoke for it."""
    if files.plan is None:
        return "There is no plan yet: the stage search-layers makes it, or it is written by hand."
    rows = []
    for item in files.plan["tasks"]:
        task, level = item["task"], item["level"]
        chosen = files.chosen(task)
        by_level = best_by_level(files, task)
        others = {other: score for other, score in by_level.items() if other != level}
        rival = max(others, key=lambda other: others[other]) if others else None
        rows.append(
            {
                "Task": task,
                "Level": level,
                "Score": f"{chosen['metric']}" if chosen else "given by hand",
                "Validation": chosen["score"] if chosen else None,
                "Next best level": None if rival is None else str(rival),
                "its score": None if rival is None else others[rival],
                "Margin": chosen["score"] - others[rival] if chosen and rival is not None else None,
                "Runner-up trial": chosen.get("runner_up") if chosen else None,
                "Published level": LEVELS.get(files.task_type(task)),
            }
        )
    frame = pd.DataFrame(rows).astype({"Published level": "Int64"}).dropna(axis="columns", how="all")
    return Table(
        "The level that each task reads",
        frame,
        note="Margin: over the best trial at another level. Runner-up trial: the second best at any level. "
        f"Published level: of five, {SOURCE}, on other data.",
        signed=frozenset({"Margin"}),
        decimals={"Margin": 2, "Validation": 2, "its score": 2, "Runner-up trial": 2},
    )


def best_by_level(files: RunFiles, task: str) -> dict[int, float]:
    """level → the best validation score that a trial reached there."""
    best: dict[int, float] = {}
    for level, score in trial_scores(files, task):
        best[level] = max(score, best.get(level, score))
    return dict(sorted(best.items()))


def trial_scores(files: RunFiles, task: str) -> list[tuple[int, float]]:
    """(level, validation score) of every finished trial."""
    metric = files.main_metric(task)
    return [
        (level, trial.val[task][metric])
        for trial in files.trials.get(task, [])
        if trial.val and (level := trial.level(task)) is not None and metric in trial.val.get(task, {})
    ]


def trials(files: RunFiles) -> Table | str:
    """Every trial of the search, the failed ones too."""
    rows, groups = [], []
    for task in files.task_names:
        winner = files.chosen_trial(task)
        failed = [row for row in files.failed_trials if row["task"] == task]
        names = {_cell(row) for row in failed}
        found = [
            _trial_row(files, task, trial, trial is winner)
            for trial in files.trials.get(task, [])
            if trial.val or trial.name not in names
        ]
        found += [_failed_row(row) for row in failed]
        found.sort(key=lambda row: tuple(row[name] or 0 for name in ("Level", "Batch", "Updates", "Step")))
        rows += found
        if found:
            groups.append((f"{task}, by {files.main_metric(task)}", len(found), False))
    if not rows:
        return "There are no trials: the plan was written by hand, or the stage search-layers has not run."
    frame = pd.DataFrame(rows).astype(dict.fromkeys(("Level", "Batch", "Updates", "Step"), "Int64"))
    winners = {
        (place, column) for place, row in enumerate(rows) if row["State"] == "chosen" for column in frame.columns
    }
    return Table(
        "All trials of the search: each task alone",
        frame,
        note="Scores of the final weights on validation data; the chosen trial is bold.",
        groups=tuple(groups),
        bold=frozenset(winners),
        decimals={"Validation": 2, "Seconds": 0},
        collapsed=len(rows) > 60,
    )


def _trial_row(files: RunFiles, task: str, trial: Training, chosen: bool) -> dict[str, Any]:
    plan = trial.plan.tasks[0] if trial.plan else None
    score = (trial.val or {}).get(task, {}).get(files.main_metric(task))
    return {
        "Level": plan and plan.level,
        "Batch": plan and plan.batch_size,
        "Updates": plan and plan.num_updates,
        "Step": plan and plan.step_size,
        "Validation": score,
        "Seconds": trial.seconds or None,
        "State": "chosen" if chosen else "" if trial.val else f"not finished: {trial.name}",
    }


NAMES = {"Level": "level", "Batch": "batch_size", "Updates": "num_updates", "Step": "step_size"}


def _failed_row(row: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {heading: int(row[name]) for heading, name in NAMES.items()}
    return {**found, "Validation": None, "Seconds": None, "State": f"failed: {row['error']}"}


def _cell(row: dict[str, Any]) -> str:
    return cell_name(TaskPlan(row["task"], **{name: int(row[name]) for name in NAMES.values()}))
