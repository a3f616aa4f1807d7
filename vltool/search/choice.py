"""What a search chose for each task: the best cell, by how much, and whether that is more than its seeds differ.

Tasks that share a decoder get one level: the one at which they lose least against what each would have chosen alone.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

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
    alone: the cell that the task would have chosen by itself, where it gave that up for the level of a shared decoder;
    it is the runner-up then, and the margin as a rule negative.
    """

    best: CellScore
    runner_up: CellScore | None
    rung: int
    margin: float | None
    spread: float | None
    alone: CellScore | None = None

    @property
    def exceeds_spread(self) -> bool | None:
        """Whether the margin is larger than the spread; None where one of them is not known."""
        return None if self.margin is None or self.spread is None else self.margin > self.spread


def choose(
    results: Sequence[TrialResult],
    tasks: Sequence[str],
    *,
    num_seeds: int = 1,
    shared_decoders: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, Choice]:
    """The best cell of each task: of those that went furthest the one with the best mean validation score.

    Among equals the lowest level wins, then the shortest training. A cell of which a seed failed is passed over.
    shared_decoders: decoder → the tasks that share it; those of `tasks` get one level, see `_at_one_level`, and what a
    task would have chosen alone is then its runner-up. Raises TrainingError if that leaves a task without a cell.
    """
    cells = {}
    for task in tasks:
        own = [found for found in results if found.trial.task == task]
        cells[task] = cell_scores(own, num_seeds=num_seeds)
        if cells[task]:
            continue
        errors = [found.error for found in own if found.error]
        if not errors:
            raise TrainingError(f"no cell of {task} was finished within search.budget. Run it again: it goes on")
        raise TrainingError(f"no cell of {task} is without a failed trial, the first failed with: {errors[0]}")
    chosen = {task: _choice(own) for task, own in cells.items()}
    for decoder, sharers in (shared_decoders or {}).items():
        together = {task: cells[task] for task in sharers if task in cells}
        if len({chosen[task].best.cell.plan.level for task in together}) > 1:
            chosen |= _at_one_level(decoder, together)
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
    best, *others = sorted(cells, key=_order)
    return _against(best, others[0]) if others else Choice(best, None, best.last_rung, None, None)


def _order(found: CellScore) -> tuple[float, ...]:
    plan = found.cell.plan
    return (-found.last_rung, -found.mean(), plan.level, plan.num_updates)


def _against(best: CellScore, other: CellScore) -> Choice:
    rung = min(best.last_rung, other.last_rung)
    spreads = [found.spread(rung) for found in (best, other)]
    known = [spread for spread in spreads if spread is not None]
    spread = (sum(value**2 for value in known) / len(known)) ** 0.5 if len(known) == len(spreads) else None
    return Choice(best, other, rung, best.mean(rung) - other.mean(rung), spread)


def _at_one_level(decoder: str, cells: Mapping[str, list[CellScore]]) -> dict[str, Choice]:
    """The choices of tasks that share a decoder, which reads one level. cells: task → its cells.

    Of the levels that all of them have tried, those at which they went furthest; of these the one at which they lose
    least, each in shares of its own best score at the last rung that both cells have reached; then the lowest.
    """
    levels = set.intersection(*({found.cell.plan.level for found in own} for own in cells.values()))
    if not levels:
        raise TrainingError(
            f"decoder {decoder!r} is shared by {', '.join(cells)}, and no level is without a failed or unfinished "
            "trial in all of them. Run it again: what failed is tried again; or give them decoders of their own "
            "(tasks.NAME.decoder)"
        )
    alone = {task: min(own, key=_order) for task, own in cells.items()}

    def at(level: int) -> dict[str, CellScore]:
        return {
            task: min((found for found in own if found.cell.plan.level == level), key=_order)
            for task, own in cells.items()
        }

    def cost(level: int) -> tuple[float, ...]:
        found = at(level)
        behind = sum(alone[task].last_rung - found[task].last_rung for task in cells)
        choices = [_against(found[task], alone[task]) for task in cells]
        lost = sum(
            -(own.margin or 0.0) / (abs(alone[task].mean(own.rung)) or 1.0)
            for task, own in zip(cells, choices, strict=True)
        )
        return behind, lost, level

    found = at(min(levels, key=cost))
    return {
        task: _choice(own)
        if found[task] is alone[task]
        else replace(_against(found[task], alone[task]), alone=alone[task])
        for task, own in cells.items()
    }
