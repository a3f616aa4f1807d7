"""What a search chose for each task: the best cell, by how much, and whether that is more than its seeds differ."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from vltool.errors import TrainingError
from vltool.search.grid import Cell
from vltool.search.trials import TrialResult


@dataclass(frozen=True)
class CellScore:
    """One cell over its seeds. scores: rung → validation score of each seed; the last rung is how far it went."""

    cell: Cell
    metric: str
    folders: tuple[str, ...]
    seeds: tuple[int, ...]
    scores: dict[int, tuple[float, ...]]

    @property
    def last_rung(self) -> int:
        return max(self.scores)

    def mean(self, rung: int | None = None) -> float:
        """Mean over the seeds at a rung, or at the last."""
        return statistics.fmean(self.scores[self.last_rung if rung is None else rung])

    def spread(self, rung: int) -> float | None:
        """Standard deviation over the seeds (n - 1); None of a single one."""
        values = self.scores[rung]
        return statistics.stdev(values) if len(values) > 1 else None


@dataclass(frozen=True)
class Choice:
    """The best cell of a task and its runner-up, compared at the last rung that both have reached.

    spread: root of the mean variance of the two over their seeds; None with one seed.
    """

    best: CellScore
    runner_up: CellScore | None
    rung: int
    margin: float | None
    spread: float | None

    @property
    def exceeds_spread(self) -> bool | None:
        """Whether the margin is larger than the spread; None where one of them is not known."""
        return None if self.margin is None or self.spread is None else self.margin > self.spread


def choose(results: Sequence[TrialResult], tasks: Sequence[str], *, num_seeds: int = 1) -> dict[str, Choice]:
    """The best cell of each task: of those that went furthest the one with the best mean validation score.

    Among equals the lowest level wins, then the shortest training. A cell of which a seed failed is passed over. Raises
    TrainingError if that leaves a task without a cell.
    """
    chosen = {}
    for task in tasks:
        own = [found for found in results if found.trial.task == task]
        cells = cell_scores(own, num_seeds=num_seeds)
        if cells:
            chosen[task] = _choice(cells)
            continue
        errors = [found.error for found in own if found.error]
        if not errors:
            raise TrainingError(f"no cell of {task} was finished within search.budget. Run it again: it goes on")
        raise TrainingError(f"no cell of {task} is without a failed trial, the first failed with: {errors[0]}")
    return chosen


def cell_scores(results: Sequence[TrialResult], *, num_seeds: int = 1) -> list[CellScore]:
    """The cells of one task without a failed trial, each with the rungs that all its seeds have reached."""
    failed = {found.trial.cell for found in results if found.error}
    by_cell: dict[Cell, list[TrialResult]] = {}
    for found in results:
        if found.trial.cell not in failed:
            by_cell.setdefault(found.trial.cell, []).append(found)
    scored = []
    for cell, own in by_cell.items():
        trials = list(dict.fromkeys(found.trial for found in own))
        at = {rung: [found.score for found in own if found.rung == rung] for rung in {found.rung for found in own}}
        scores = {rung: tuple(values) for rung, values in sorted(at.items()) if len(values) == num_seeds}
        if scores:
            folders, seeds = tuple(trial.folder for trial in trials), tuple(trial.seed for trial in trials)
            scored.append(CellScore(cell, own[0].metric, folders, seeds, scores))
    return scored


def _choice(cells: list[CellScore]) -> Choice:
    def order(found: CellScore) -> tuple[float, ...]:
        plan = found.cell.plan
        return (-found.last_rung, -found.mean(), plan.level, plan.num_updates)

    best, *others = sorted(cells, key=order)
    if not others:
        return Choice(best, None, best.last_rung, None, None)
    rung = others[0].last_rung
    spreads = [found.spread(rung) for found in (best, others[0])]
    known = [spread for spread in spreads if spread is not None]
    spread = (sum(value**2 for value in known) / len(known)) ** 0.5 if len(known) == len(spreads) else None
    return Choice(best, others[0], rung, best.mean(rung) - others[0].mean(rung), spread)
