"""How much of a grid is trained: all of it, or by successive halving (Jamieson and Talwalkar 2016), in rungs.

A rung has a share of every cell's own updates. Its cells are compared when all of them have reached it, never before,
so that the choice does not depend on which trial was faster.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from math import ceil

import optuna

from vltool.config import SearchConfig
from vltool.errors import ConfigError


def shares(search: SearchConfig) -> tuple[float, ...]:
    """Which share of its updates a cell has made at every rung; the last is 1. Raises ConfigError."""
    factor, rungs = search.halving.factor, search.halving.rungs
    if factor < 2:
        raise ConfigError(f"search.halving.factor is {factor}; legal is 2 or more")
    if rungs < 2:
        raise ConfigError(f"search.halving.rungs is {rungs}; legal is 2 or more")
    return tuple(factor**-rung for rung in reversed(range(rungs))) if search.strategy == "halving" else (1.0,)


def num_kept(count: int, factor: int) -> int:
    """How many of `count` cells go on from a rung."""
    return max(1, ceil(count / factor))


def ranked(scores: Mapping[int, Sequence[float]]) -> list[int]:
    """Cells by their mean score over seeds, the best first; among equals the order of the grid."""
    return sorted(scores, key=lambda cell: (-statistics.fmean(scores[cell]), cell))


class SynchronousHalving(optuna.pruners.BasePruner):
    """Prunes all but the best 1/factor of a rung's cells, a cell being the mean over its seeds.

    Optuna's own SuccessiveHalvingPruner decides as soon as a trial arrives, by what happens to be there. Here a rung is
    asked about when it is complete. A trial's step is its rung; its attribute "cell" the number of its cell.
    """

    def __init__(self, factor: int):
        self.factor = factor

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        rung = trial.last_step
        if rung is None:
            return False
        return trial.user_attrs["cell"] not in self.kept(study.get_trials(deepcopy=False), rung)

    def kept(self, trials: Sequence[optuna.trial.FrozenTrial], rung: int) -> list[int]:
        """The cells that go on from a rung, the best first; those with a failed trial never do.

        Of several attempts at a trial the last counts.
        """
        last = {(found.user_attrs["cell"], found.user_attrs["seed"]): found for found in trials if found.user_attrs}
        failed = {cell for (cell, _), found in last.items() if found.state == optuna.trial.TrialState.FAIL}
        scores: dict[int, list[float]] = {}
        for (cell, _), found in last.items():
            if rung in found.intermediate_values and cell not in failed:
                scores.setdefault(cell, []).append(found.intermediate_values[rung])
        return ranked(scores)[: num_kept(len(scores), self.factor)]
