"""The charts of the page: learning curves and the level of each task, as SVG data URIs with a text alternative."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vltool.report.run_files import RunFiles, Training
from vltool.report.search_tables import TrialPoint, best_by_level, trial_points

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's colours, which people who see colours differently can tell apart."""

LEAST_SPAN = 2.0
"""Points that the axis of a score spans at least, so that a hair does not look like a hill."""

SINGLE_COLOUR = "#767676"
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "legend.frameon": False,
    "svg.hashsalt": "vltool",  # the same chart has the same bytes
    "svg.fonttype": "path",
}


@dataclass(frozen=True)
class Chart:
    """A chart as the page holds it. source: a data URI; alt: what the chart shows, in words."""

    source: str
    alt: str
    caption: str
    width_px: int


@dataclass(frozen=True)
class Curve:
    """One training's course for one task; x counts the task's own updates."""

    label: str
    colour: str
    dashed: bool
    losses: list[tuple[int, float]]
    scores: list[tuple[int, float]]


def learning_curves(files: RunFiles) -> Chart | str:
    """Loss and validation score of each task over its own updates, joint and alone."""
    curves = {task: task_curves(files, task) for task in files.task_names}
    curves = {task: found for task, found in curves.items() if any(curve.losses for curve in found)}
    if not curves:
        return "There are no learning curves: nothing has been trained yet."
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(max(3.2 * len(curves), 4.2), 4.6), layout="constrained")
        grid = figure.subplots(2, len(curves), squeeze=False, sharex="col")
        for column, (task, found) in enumerate(curves.items()):
            upper, lower = grid[0][column], grid[1][column]
            for curve in found:
                style: dict[str, Any] = {"color": curve.colour, "linestyle": "--" if curve.dashed else "-"}
                upper.plot(*_xy(curve.losses), **style, linewidth=1.3, label=curve.label)
                lower.plot(*_xy(curve.scores), **style, linewidth=1.3, marker="o", markersize=3)
            upper.set_title(task)
            upper.set_ylabel("training loss" if column == 0 else "")
            lower.set_ylabel(f"validation {files.main_metric(task)}")
            lower.set_xlabel(f"updates of {task}")
            lower.set_xlim(left=0)
        _legend(figure, list(grid[0]))
        return Chart(
            svg_uri(figure),
            "Learning curves. " + " ".join(_told(task, found) for task, found in curves.items()),
            "Training loss (above) and validation score (below) over the updates of each task. The joint training "
            "switches between the tasks, so only a task's own updates count here.",
            round(figure.get_figwidth() * 96),
        )


def task_curves(files: RunFiles, task: str) -> list[Curve]:
    """The trainings of several tasks, most tasks first, then the task's winning trial of the search."""
    metric = files.main_metric(task)
    several = sorted(
        files.trainings.values(), key=lambda found: (-len(found.plan.tasks) if found.plan else 0, found.name)
    )
    curves = [
        _curve(training, task, metric, training.name.replace("+", " + "), PALETTE[place % len(PALETTE)])
        for place, training in enumerate(several)
        if training.level(task) is not None
    ]
    single = files.chosen_trial(task)
    return curves + ([_curve(single, task, metric, "single task", SINGLE_COLOUR, dashed=True)] if single else [])


def _curve(training: Training, task: str, metric: str, label: str, colour: str, *, dashed: bool = False) -> Curve:
    own = own_updates(training, task)
    losses = [
        (own[line["cycle"]], line["loss"]) for line in training.log if line["kind"] == "loss" and line["task"] == task
    ]
    scores = [
        (own[line["cycle"]], line["scores"][metric])
        for line in training.log
        if line["kind"] == "scores" and line["task"] == task and metric in line["scores"]
    ]
    return Curve(label, colour, dashed, losses, scores)


def own_updates(training: Training, task: str) -> dict[int, int]:
    """cycle → how many updates of `task` the training has made when the cycle is over."""
    if training.plan is None:
        return {line["cycle"]: line["update"] for line in training.log}
    made, found = 0, {}
    for cycle in range(max((line["cycle"] for line in training.log), default=-1) + 1):
        made += sum(item.updates_per_cycle for item in training.plan.tasks_in(cycle) if item.name == task)
        found[cycle] = made
    return found


def _told(task: str, curves: Sequence[Curve]) -> str:
    ends = [
        f"{curve.label}: loss from {curve.losses[0][1]:.3g} to {curve.losses[-1][1]:.3g}"
        + (f", last validation score {curve.scores[-1][1]:.1f}" if curve.scores else "")
        for curve in curves
        if curve.losses
    ]
    return f"{task}: {'; '.join(ends)}."


def level_chart(files: RunFiles) -> Chart | str:
    """Validation score of every trial against the level that it reads, the choice marked."""
    scores = {task: found for task in files.task_names if (found := trial_points(files, task))}
    if not scores:
        return "There is nothing to draw: no trial of the search has finished."
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(max(3.2 * len(scores), 4.2), 2.8), layout="constrained")
        for axes, (task, found) in zip(figure.subplots(1, len(scores), squeeze=False)[0], scores.items(), strict=True):
            _draw_levels(axes, files, task, found)
        return Chart(
            svg_uri(figure),
            "Validation score by level. " + " ".join(_levels_told(files, task) for task in scores),
            "Validation score of every trial (dots) against the level that the decoder reads; the line joins the best "
            "of each level (the mean over seeds, where there are several), the ring marks the choice. Hollow: pruned "
            "by halving, with the score it had when it was stopped.",
            round(figure.get_figwidth() * 96),
        )


def _draw_levels(axes: Axes, files: RunFiles, task: str, found: list[TrialPoint]) -> None:
    best = best_by_level(files, task)
    for whole in (True, False):
        shown = [point for point in found if point.whole == whole]
        axes.scatter(
            [point.level for point in shown],
            [point.score for point in shown],
            s=14,
            facecolors="#8a8a8a" if whole else "none",
            edgecolors="#8a8a8a",
            alpha=0.7,
            linewidths=0 if whole else 0.8,
            zorder=2,
        )
    axes.plot(list(best), list(best.values()), color=PALETTE[0], linewidth=1.3, zorder=3)
    chosen, level = files.chosen(task), _chosen_level(files, task)
    if chosen and "score" in chosen and level is not None:
        axes.scatter(
            [level], [chosen["score"]], s=110, facecolors="none", edgecolors=PALETTE[1], linewidths=2, zorder=4
        )
    axes.set_title(task if level is None else f"{task}: level {level}")
    axes.set_xlabel("level")
    axes.set_ylabel(files.main_metric(task))
    axes.set_xticks(sorted({point.level for point in found}))
    axes.margins(x=0.15, y=0.15)
    low, high = axes.get_ylim()
    if high - low < LEAST_SPAN:
        axes.set_ylim((low + high - LEAST_SPAN) / 2, (low + high + LEAST_SPAN) / 2)


def _chosen_level(files: RunFiles, task: str) -> int | None:
    return next((item["level"] for item in (files.plan or {}).get("tasks", []) if item["task"] == task), None)


def _levels_told(files: RunFiles, task: str) -> str:
    best = ", ".join(f"level {level} {score:.1f}" for level, score in best_by_level(files, task).items())
    return f"{task}, chosen level {_chosen_level(files, task)}; best trial of each level: {best}."


def svg_uri(figure: Figure) -> str:
    """A figure as an SVG data URI without a date in it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()


def _legend(figure: Figure, row: list[Axes]) -> None:
    handles: dict[str, Any] = {}
    for axes in row:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(list(handles.values()), list(handles), loc="outside upper center", ncols=len(handles))


def _xy(points: Sequence[tuple[int, float]]) -> tuple[list[int], list[float]]:
    return [x for x, _ in points], [y for _, y in points]
