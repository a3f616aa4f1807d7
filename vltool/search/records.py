"""What is known of every trial of a search, kept by Optuna in a SQLite file: `<out>/search/study.sqlite`.

One study a task and question: another grid, other data or another strategy is another study, so that nothing of an old
search is taken for an answer of the new one. Its trainings, where they are the same, are found on disk. One process
writes: the one that runs the search. Optuna's own programs (optuna-dashboard) read the file as any other.
"""

from __future__ import annotations

import json
import logging
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from vltool.errors import DataError
from vltool.search.strategy import SynchronousHalving
from vltool.search.trials import Trial, TrialResult


class TaskRecords:
    """The trials of one task by ask and tell. `trials` keep their order and numbers from run to run."""

    def __init__(self, path: Path, name: str, trials: Sequence[Trial], pruner: SynchronousHalving | None):
        """name: of the study. Trials that failed before are asked for again."""
        optuna.logging.set_verbosity(logging.ERROR)
        self.trials = list(trials)
        self.pruner = pruner
        self._cells = list(dict.fromkeys(trial.cell for trial in trials))
        self.study = open_study(path, name, pruner)
        self._own = self._ask()
        self._results: dict[tuple[Trial, int], TrialResult] = {}
        self._failed: dict[Trial, TrialResult] = {}
        for trial, own in self._own.items():
            for rung, found in own.user_attrs.get("rungs", {}).items():
                self._results[trial, int(rung)] = TrialResult(trial, int(rung), **found)

    def _ask(self) -> dict[Trial, FrozenTrial]:
        last = {
            found.user_attrs["folder"]: found
            for found in self.study.get_trials(deepcopy=False)
            if found.state != TrialState.WAITING and "folder" in found.user_attrs
        }
        over = {TrialState.FAIL}
        if any(found.state == TrialState.FAIL for found in last.values()):
            over.add(TrialState.PRUNED)  # with the failed ones back, more may go on from a rung
        known = {folder: found for folder, found in last.items() if found.state not in over}
        waiting = {found.user_attrs.get("folder") for found in self.study.get_trials(states=(TrialState.WAITING,))}
        missing = [trial for trial in self.trials if trial.name not in known]
        for trial in missing:
            if trial.name not in waiting:
                marks = {"folder": trial.name, "cell": self._cells.index(trial.cell), "seed": trial.seed}
                self.study.enqueue_trial(values_of(trial), user_attrs=marks)
        for _ in missing:
            self.study.ask(self._distributions())
        for found in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            folder = found.user_attrs["folder"]
            if folder not in known and (before := last.get(folder)) and before.state == TrialState.PRUNED:
                self._copy(before, found)
            known[folder] = found
        now = {found.number: found for found in self.study.get_trials(deepcopy=False)}
        return {trial: now[known[trial.name].number] for trial in self.trials}

    def _copy(self, before: FrozenTrial, after: FrozenTrial) -> None:
        own = optuna.Trial(self.study, after._trial_id)
        own.set_user_attr("rungs", before.user_attrs.get("rungs", {}))
        for rung, score in before.intermediate_values.items():
            own.report(score, rung)

    def _distributions(self) -> dict[str, Any]:
        listed = [values_of(trial) for trial in self.trials]
        return {key: CategoricalDistribution(list(dict.fromkeys(row[key] for row in listed))) for key in listed[0]}

    def result(self, trial: Trial, rung: int) -> TrialResult | None:
        """What a trial reached at a rung, or its failure; None while that is open."""
        return self._failed.get(trial) or self._results.get((trial, rung))

    def results(self) -> list[TrialResult]:
        """Everything that is known, in the order of the trials and their rungs."""
        order = {trial: place for place, trial in enumerate(self.trials)}
        known = [*self._results.values(), *self._failed.values()]
        return sorted(known, key=lambda found: (order[found.trial], found.rung, bool(found.error)))

    def record(self, result: TrialResult) -> None:
        """Keep what a trial reached, or its failure."""
        own = self._handle(result.trial)
        if result.error:
            own.set_user_attr("error", result.error)
            self.study.tell(own, state=TrialState.FAIL)
            self._failed[result.trial] = result
            return
        self._results[result.trial, result.rung] = result
        rungs = {key[1]: _plain(found) for key, found in self._results.items() if key[0] == result.trial}
        own.set_user_attr("rungs", rungs)
        own.report(result.score, result.rung)

    def kept(self, rung: int) -> list[int]:
        """The numbers of the cells that go on from a rung that is complete."""
        assert self.pruner is not None
        return self.pruner.kept(self.study.get_trials(deepcopy=False), rung)

    def close(self, stopped: Mapping[Trial, bool]) -> None:
        """Tell Optuna that trials are over: pruned (True), or complete with the score of their last rung (False)."""
        open_ones = {found.number for found in self.study.get_trials(states=(TrialState.RUNNING,), deepcopy=False)}
        for trial, pruned in stopped.items():
            if self._own[trial].number in open_ones:
                last = [found for found in self.results() if found.trial == trial][-1]
                how: dict[str, Any] = {"state": TrialState.PRUNED} if pruned else {"values": last.score}
                self.study.tell(self._handle(trial), **how)

    def _handle(self, trial: Trial) -> optuna.Trial:
        return optuna.Trial(self.study, self._own[trial]._trial_id)


def open_study(path: Path, name: str, pruner: SynchronousHalving | None) -> optuna.Study:
    """The study of a name in a SQLite file, made if it is not there. Raises DataError for another kind of file."""
    import sqlalchemy

    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        storage = optuna.storages.RDBStorage(
            f"sqlite:///{path}", engine_kwargs={"connect_args": {"timeout": 60}}, skip_compatibility_check=False
        )
        return optuna.create_study(
            storage=storage,
            study_name=name,
            direction="maximize",
            load_if_exists=True,
            sampler=optuna.samplers.RandomSampler(seed=0),  # never drawn from: every value is given
            pruner=pruner or optuna.pruners.NopPruner(),
        )
    except (sqlalchemy.exc.SQLAlchemyError, RuntimeError) as error:
        raise _unreadable(path, error) from error


@contextmanager
def copy_of_study(path: Path) -> Iterator[Path]:
    """A copy of a study's file, to look at and to change: the file itself stays as it is, or stays away.

    Raises DataError for another kind of file.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        if not path.exists():
            yield copy
            return
        try:
            with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as own:
                with closing(sqlite3.connect(copy)) as other:
                    own.backup(other)
        except sqlite3.OperationalError:  # a killed search has left its journal: nobody writes now
            for file in (path, path.with_name(f"{path.name}-journal"), path.with_name(f"{path.name}-wal")):
                if file.exists():
                    shutil.copy(file, Path(folder) / file.name)
        except sqlite3.DatabaseError as error:
            raise _unreadable(path, error) from error
        yield copy


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(
        f"{path}: cannot be read as the state of a search ({type(error).__name__}). Remove it and search again: "
        "trainings that have finished are not repeated"
    )


def values_of(trial: Trial) -> dict[str, Any]:
    """A trial as Optuna's parameters."""
    plan = asdict(trial.cell.plan)
    own = {key: plan[key] for key in ("level", "batch_size", "num_updates", "step_size")}
    return {**own, **dict(trial.cell.settings), "seed": trial.seed}


def _plain(result: TrialResult) -> dict[str, Any]:
    found = {key: getattr(result, key) for key in ("num_updates", "metric", "scores", "seconds")}
    return dict(json.loads(json.dumps(found)))
