"""The search of one task: which of its trials are due, rung by rung, and how much work is left."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vltool.config import RunConfig
from vltool.errors import ConfigError
from vltool.search.estimate import TaskCosts
from vltool.search.grid import Cell, at_share, task_grid
from vltool.search.records import TaskRecords
from vltool.search.strategy import SynchronousHalving, num_kept, shares
from vltool.search.trials import Trial, make_trial
from vltool.tasks.network import encoder_options
from vltool.training.loader import check_batch_size
from vltool.training.run import RunInputs, run_identity
from vltool.training.schedule import JointPlan

Due = tuple[Trial, int]
"""A trial and the rung that it is to reach."""


def list_trials(config: RunConfig, tasks: Sequence[str]) -> dict[str, list[Trial]]:
    """task → every trial of its search, in the order of its grid. Raises ConfigError for a search that cannot be."""
    shares(config.search)
    seeds = _seeds(config)
    num_levels = encoder_options(config.encoder).num_levels
    cells = {task: task_grid(config, task, num_levels=num_levels) for task in tasks}
    for cell in (cell for own in cells.values() for cell in own):
        _check_rungs(config, cell)
    drawn = _within_budget(config, cells, len(seeds))
    _check_sharers(config, drawn)
    return {task: [make_trial(config, cell, seed) for cell in own for seed in seeds] for task, own in drawn.items()}


def _check_sharers(config: RunConfig, cells: dict[str, tuple[Cell, ...]]) -> None:
    """Raises ConfigError where tasks that share a decoder, which reads one level, have none in common."""
    for decoder, sharers in config.shared_decoders.items():
        levels = {task: sorted({cell.plan.level for cell in cells[task]}) for task in sharers if task in cells}
        if levels and not set.intersection(*map(set, levels.values())):
            told = ", ".join(f"{task} {', '.join(map(str, own))}" for task, own in levels.items())
            raise ConfigError(
                f"decoder {decoder!r} is shared by tasks that have no level of the search in common: {told}. Give them "
                "one in search.grid.level and search.tasks, a larger search.budget.trials, or decoders of their own "
                "(tasks.NAME.decoder)"
            )


def _check_rungs(config: RunConfig, cell: Cell) -> None:
    """Raises ConfigError where two rungs of a cell would be one and the same training, which has whole cycles."""
    plans = [JointPlan((at_share(cell, share),), config.training.cycle_updates) for share in shares(config.search)]
    lengths = [plan.updates_before() for plan in plans]
    if len(set(lengths)) < len(lengths):
        raise ConfigError(
            f"search.halving.rungs is {config.search.halving.rungs}: in cycles of {config.training.cycle_updates}, "
            f"{cell.plan.task} {cell.name} would be compared after {', '.join(map(str, lengths))} updates; each "
            "must be more than the one before. Use fewer rungs, more num_updates or a smaller training.cycle_updates"
        )


def _seeds(config: RunConfig) -> tuple[int, ...]:
    seeds = (config.seed,) if config.search.seeds is None else config.search.seeds
    if not seeds or len(set(seeds)) != len(seeds) or min(seeds) < 0:
        raise ConfigError(f"search.seeds is {list(seeds)}: name different whole numbers from 0 up")
    return seeds


def _within_budget(
    config: RunConfig, cells: dict[str, tuple[Cell, ...]], num_seeds: int
) -> dict[str, tuple[Cell, ...]]:
    """Cells drawn evenly over the tasks, each with all its seeds; all of them without a budget in trials."""
    budget = config.search.budget
    if budget.trials < 0 or budget.hours < 0:
        raise ConfigError("search.budget: trials and hours are 0 (no limit) or more")
    wanted = budget.trials // num_seeds
    drawn: dict[str, tuple[Cell, ...]] = {}
    if not budget.trials or wanted >= sum(len(own) for own in cells.values()):
        return cells
    if wanted < len(cells):
        raise ConfigError(
            f"search.budget.trials is {budget.trials}; legal is 0 (no limit) or {len(cells) * num_seeds} and more: one "
            f"cell with {num_seeds} seeds for each of {len(cells)} tasks"
        )
    for place, (task, own) in enumerate(sorted(cells.items(), key=lambda item: len(item[1]))):
        count = min(len(own), (wanted - sum(len(own) for own in drawn.values())) // (len(cells) - place))
        chosen = np.random.default_rng((config.seed, place)).choice(len(own), count, replace=False)
        drawn[task] = tuple(own[k] for k in sorted(chosen))
    return {task: drawn[task] for task in cells}


def check_data(inputs: RunInputs, trials: dict[str, list[Trial]]) -> None:
    """Raises ConfigError for a batch that is larger than a task's training data, DataError where there is none."""
    for task, own in trials.items():
        count = len(inputs.prepared.examples[task]["train"])
        check_batch_size(task, max(t.cell.plan.batch_size for t in own), count, where="search.grid")


class TaskSearch:
    """One task's trials on their way through the rungs."""

    def __init__(self, task: str, trials: Sequence[Trial], config: RunConfig):
        self.task = task
        self.trials = list(trials)
        self.cells = list(dict.fromkeys(trial.cell for trial in trials))
        self.shares = shares(config.search)
        self.factor = config.search.halving.factor
        self.records: TaskRecords | None = None
        self.finished = False
        self._started: set[Due] = set()
        self._kept: dict[int, list[int]] = {}
        self._alive = set(self.cells)

    def open(self, inputs: RunInputs, path: Path) -> TaskRecords:
        """Its records: those of the same question, if it was asked before."""
        plan = JointPlan((self.cells[0].plan,), inputs.config.training.cycle_updates)
        asked = {key: value for key, value in run_identity(inputs, plan).items() if key != "plan"}
        asked |= {"trials": [trial.name for trial in self.trials], "shares": self.shares, "factor": self.factor}
        digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:12]
        pruner = SynchronousHalving(self.factor) if len(self.shares) > 1 else None
        self.records = TaskRecords(path, f"{self.task}-{digest}", self.trials, pruner)
        return self.records

    def due(self) -> list[Due]:
        """What may begin now and has not begun: the open trials of the first rung that is not complete."""
        assert self.records is not None
        cells = list(range(len(self.cells)))
        for rung in range(len(self.shares)):
            self._alive = {self.cells[cell] for cell in cells}
            standing = [(trial, rung) for trial in self.trials if trial.cell in self._alive]
            open_ones = [found for found in standing if self.records.result(*found) is None]
            if open_ones:
                fresh = [found for found in open_ones if found not in self._started]
                self._started.update(fresh)
                return fresh
            if rung + 1 < len(self.shares):
                if rung not in self._kept:
                    self._kept[rung] = self.records.kept(rung)
                cells = self._kept[rung]
        self.finished = True
        return []

    def pruned(self) -> list[Trial]:
        """The trials that were compared and do not go on."""
        return [trial for trial in self.trials if trial.cell not in self._alive]

    def close(self) -> None:
        """Tell the records which trials are over, when all are."""
        if self.finished and self.records is not None:
            pruned = set(self.pruned())
            failed = {found.trial for found in self.records.results() if found.error}
            self.records.close({trial: trial in pruned for trial in self.trials if trial not in failed})

    def part(self, rung: int) -> float:
        """Which share of its updates a trial makes between the rung before and this one."""
        return self.shares[rung] - (self.shares[rung - 1] if rung else 0.0)

    def counts(self) -> list[int]:
        """How many trials reach each rung."""
        num_seeds, count, found = len(self.trials) // len(self.cells), len(self.cells), []
        for _ in self.shares:
            found.append(count * num_seeds)
            count = num_kept(count, self.factor)
        return found

    def num_updates(self) -> int:
        """Updates of the whole search; of halving about, where cells differ in length."""
        mean = sum(cell.plan.num_updates for cell in self.cells) / len(self.cells)
        return round(sum(count * self.part(rung) * mean for rung, count in enumerate(self.counts())))

    def seconds(self, costs: TaskCosts) -> float:
        """Predicted seconds of the whole search in one process."""
        return sum(
            count
            * sum(costs.of(cell).trial_seconds(cell.plan, self.part(rung)) for cell in self.cells)
            / len(self.cells)
            for rung, count in enumerate(self.counts())
        )

    def seconds_done(self, costs: TaskCosts) -> float:
        """Predicted seconds of what is known already."""
        assert self.records is not None
        return sum(
            costs.of(found.trial.cell).trial_seconds(found.trial.cell.plan, self.part(found.rung))
            for found in self.records.results()
        )
