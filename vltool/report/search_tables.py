"""The tables of the layer search: what it chose for each task, and every trial."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

import pandas as pd

from vltool.report.published import SOURCE
from vltool.report.run_files import RunFiles, Training
from vltool.report.table import Table
from vltool.search.preset import LEVELS

COMPARED = ("finished", "chosen")
"""States of trials that went all the way; the others stopped before or failed."""


@dataclass(frozen=True)
class TrialPoint:
    """One trial as the chart shows it. cell: what its seeds share; whole: it went all the way."""

    level: int
    score: float
    cell: tuple[Any, ...]
    whole: bool = True


def levels(files: RunFiles) -> Table | str:
    """Which level each task reads, and by how much the validation score spoke for it."""
    if files.plan is None:
        return "There is no plan yet: the stage search-layers makes it, or it is written by hand."
    frame = pd.DataFrame([_level_row(files, item["task"], item["level"]) for item in files.plan["tasks"]])
    frame = frame.astype({"Published level": "Int64", "Compared at": "Int64"}).dropna(axis="columns", how="all")
    return Table(
        "The level that each task reads",
        frame,
        note="Margin: over the best cell at another level that went as far (or else the runner-up, compared after the "
        "updates named). Runner-up trial: the second best at any level. Spread: standard deviation of a score over "
        f"seeds, of the two that are compared. Published level: of five, {SOURCE}, on other data.",
        signed=frozenset({"Margin"}),
        decimals={"Margin": 2, "Validation": 2, "its score": 2, "Runner-up trial": 2, "Spread": 2},
    )


def _level_row(files: RunFiles, task: str, level: int) -> dict[str, Any]:
    chosen = files.chosen(task) or {}
    best = best_by_level(files, task)
    others = {other: score for other, score in best.items() if other != level}
    rival = max(others, key=lambda other: others[other]) if others else None
    score = chosen.get("score")
    margin = chosen.get("margin") if rival is None or score is None else score - others[rival]
    exceeds = chosen.get("exceeds_spread")
    given = "published (preset)" if chosen.get("preset") else "given by hand"
    return {
        "Task": task,
        "Level": level,
        "Score": chosen.get("metric", given),
        "Validation": score,
        "Next best level": None if rival is None else str(rival),
        "its score": None if rival is None else others[rival],
        "Margin": margin,
        "Runner-up trial": chosen.get("runner_up"),
        "Compared at": chosen.get("compared_at"),
        "Spread": chosen.get("spread"),
        "Beats its runner-up": None if exceeds is None else "beyond the spread" if exceeds else "within the spread",
        "Published level": LEVELS.get(files.task_type(task)),
    }


def best_by_level(files: RunFiles, task: str) -> dict[int, float]:
    """level → the best validation score there: of cells that went all the way, each the mean over its seeds."""
    cells: dict[tuple[int, tuple[Any, ...]], list[float]] = {}
    for point in trial_points(files, task):
        if point.whole:
            cells.setdefault((point.level, point.cell), []).append(point.score)
    best: dict[int, float] = {}
    for (level, _), scores in cells.items():
        best[level] = max(statistics.fmean(scores), best.get(level, float("-inf")))
    return dict(sorted(best.items()))


def trial_points(files: RunFiles, task: str) -> list[TrialPoint]:
    """Every scored trial: of the search's table, or before there is one of the trainings that are finished."""
    rows = _searched(files, task)
    if rows:
        names = ("level", "batch_size", "num_updates", "step_size", *_set_keys(rows))
        return [
            TrialPoint(int(row["level"]), row["score"], tuple(row[name] for name in names), row["state"] in COMPARED)
            for row in rows
            if row["trained_updates"] and not row["error"]
        ]
    metric = files.main_metric(task)
    return [
        TrialPoint(level, trial.val[task][metric], (trial.name,))
        for trial in files.trials.get(task, [])
        if trial.val and (level := trial.level(task)) is not None and metric in trial.val.get(task, {})
    ]


def trials(files: RunFiles) -> Table | str:
    """Every trial of the search, the pruned and the failed ones too."""
    rows: list[dict[str, Any]] = []
    groups = []
    for task in files.task_names:
        found = _searched(files, task)
        if found:
            own = [_searched_row(row, _set_keys(found)) for row in found]
        else:
            winner = files.chosen_trial(task)
            own = [_training_row(files, task, trial, trial is winner) for trial in files.trials.get(task, [])]
        own.sort(key=lambda row: tuple(row.get(name) or 0 for name in ("Level", "Batch", "Updates", "Step", "Seed")))
        rows += own
        if own:
            groups.append((f"{task}, by {files.main_metric(task)}", len(own), False))
    if not rows:
        return "There are no trials: the plan was written by hand or a preset, or the stage search-layers has not run."
    frame = pd.DataFrame(rows).astype(dict.fromkeys(("Level", "Batch", "Updates", "Step"), "Int64"))
    frame = frame.astype({name: "Int64" for name in ("Seed", "Trained") if name in frame})
    frame = frame[[*(name for name in frame if name != "State"), "State"]]
    winners = {
        (place, column) for place, row in enumerate(rows) if row["State"] == "chosen" for column in frame.columns
    }
    return Table(
        "All trials of the search: each task alone",
        frame,
        note="Scores on validation data after the updates trained; the chosen is bold. Pruned: stopped by halving.",
        groups=tuple(groups),
        bold=frozenset(winners),
        decimals={"Validation": 2, "Seconds": 0},
        collapsed=len(rows) > 60,
    )


def _searched(files: RunFiles, task: str) -> list[dict[str, Any]]:
    return [row for row in files.searched if row["task"] == task]


def _set_keys(rows: list[dict[str, Any]]) -> list[str]:
    return [key for key in rows[0] if "." in key and any(not pd.isna(row[key]) for row in rows)]


def _searched_row(row: dict[str, Any], keys: list[str]) -> dict[str, Any]:
    found = _plain_row(row["level"], row["batch_size"], row["num_updates"], row["step_size"])
    return {
        **found,
        **{key.rpartition(".")[2]: row[key] for key in keys},
        "Seed": row["seed"],
        "Trained": row["trained_updates"],
        "Validation": row["score"] if row["trained_updates"] else None,
        "Seconds": row["seconds"] or None,
        "State": f"failed: {row['error']}" if row["error"] else "" if row["state"] == "finished" else row["state"],
    }


def _training_row(files: RunFiles, task: str, trial: Training, chosen: bool) -> dict[str, Any]:
    plan = trial.plan.tasks[0] if trial.plan else None
    known = (plan.level, plan.batch_size, plan.num_updates, plan.step_size) if plan else (None,) * 4
    return {
        **_plain_row(*known),
        "Validation": (trial.val or {}).get(task, {}).get(files.main_metric(task)),
        "Seconds": trial.seconds or None,
        "State": "chosen" if chosen else "" if trial.val else f"not finished: {trial.name}",
    }


def _plain_row(level: int | None, batch: int | None, updates: int | None, step: int | None) -> dict[str, Any]:
    return {"Level": level, "Batch": batch, "Updates": updates, "Step": step}
