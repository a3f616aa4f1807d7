"""How sure the scores of one run are: bootstrap intervals of each score, and of joint less single training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from vltool.evaluation.prediction_files import items_path, read_items
from vltool.metrics.bootstrap import LEVEL, Interval, difference_intervals, intervals
from vltool.report.run_files import RunFiles

Found = Mapping[str, Interval]

FEW = 30
"""Units (pictures, questions) below which percentile intervals are too narrow."""


@dataclass(frozen=True)
class RunIntervals:
    """scores: (model, split, task) → metric → interval; differences: (split, task) → of the joint model less alone.

    Where `eval` left no scores of single items, or there is but one picture, there is nothing.
    """

    scores: Mapping[tuple[str, str, str], Found] = field(default_factory=dict)
    differences: Mapping[tuple[str, str], Found] = field(default_factory=dict)
    note: str = ""

    def bounds(self, model: str, split: str, task: str, metric: str) -> tuple[float, float] | None:
        """(low, high) of a score."""
        return _bounds(self.scores.get((model, split, task), {}), metric)

    def difference(self, split: str, task: str, metric: str) -> tuple[float, float] | None:
        """(low, high) of joint less single."""
        return _bounds(self.differences.get((split, task), {}), metric)


def _bounds(found: Found, metric: str) -> tuple[float, float] | None:
    interval = found.get(metric)
    return None if interval is None else (interval.low, interval.high)


NONE = RunIntervals()


def intervals_of(
    files: RunFiles, *, draws: int, seed: int = 0, say: Callable[[str], None] | None = None
) -> RunIntervals:
    """The intervals of everything that a run was scored on; none of no draws. Raises DataError for damaged items."""
    if not draws:
        return NONE
    scores: dict[tuple[str, str, str], Found] = {}
    differences: dict[tuple[str, str], Found] = {}
    few: dict[str, None] = {}
    for split in dict.fromkeys(split for _, split in files.evaluations):
        for task in files.task_names:
            folder = files.config.out_dir / "eval"
            items = {
                model: found
                for model in ("single", "joint")
                if task in files.evaluations.get((model, split), {}).get("tasks", {})
                and (found := read_items(items_path(folder, f"{model}-{split}-{task}"))) is not None
                and len(found.unit_ids) > 1  # of one picture, every resample is the same
            }
            few |= {f"{task} ({len(own.unit_ids)})": None for own in items.values() if len(own.unit_ids) < FEW}
            if items and say is not None:
                say(f"drawing {draws:,} resamples of {task}/{split}")
            for model, own in items.items():
                scores[model, split, task] = intervals(own, draws=draws, seed=seed)
            if len(items) == 2 and items["single"].same_items(items["joint"]):
                differences[split, task] = difference_intervals(items["single"], items["joint"], draws=draws, seed=seed)
    note = f"In parentheses: {LEVEL:.0f} % bootstrap intervals, {draws:,} resamples, seed {seed}." if scores else ""
    if few:
        note += f" They are too narrow where so few pictures or questions are drawn: {', '.join(few)}."
    return RunIntervals(scores, differences, note)
