"""A search over the miniature world: its tasks need no files, so a process that runs trials builds them itself."""

from __future__ import annotations

import functools
import json
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.miniature import Pictures, miniature_config, miniature_corpus, miniature_prepared
from vltool.config import RunConfig, dump, from_dict
from vltool.engines.engine import Done, Engine
from vltool.engines.local import LocalEngine
from vltool.search.grid import with_settings
from vltool.search.study import Progress, search
from vltool.search.trials import Job, TrialResult, train_trial
from vltool.training.run import RunInputs

GRID = {"level": [1, 2, 3], "batch_size": [4], "num_updates": [36], "step_size": [24]}


def searched_config(out: Path | str, training: dict[str, Any] | None = None, **changes: Any) -> RunConfig:
    """The miniature run with a grid of three levels; `changes` are keys of `search`."""
    raw = dump(miniature_config(str(out), **{"checkpoint_every": 2, **(training or {})}))
    return from_dict({**raw, "search": {"grid": GRID, **changes}})


@functools.lru_cache(maxsize=1)
def miniature_inputs() -> RunInputs:
    prepared = miniature_prepared()
    return RunInputs(miniature_config("nowhere"), prepared, miniature_corpus(prepared), Pictures())  # type: ignore[arg-type]


def inputs_of(config: RunConfig) -> RunInputs:
    return replace(miniature_inputs(), config=config)


def run_miniature_job(job: Job) -> TrialResult:
    """As run_job does, with the miniature's data."""
    config = with_settings(from_dict(json.loads(job.config)), job.trial.cell.settings)
    return train_trial(inputs_of(replace(config, seed=job.trial.seed)), job)


class OnMiniature:
    """An engine that gives another one the miniature's trials."""

    def __init__(self, engine: Engine):
        self.engine = engine

    def run(self, function: Callable[[Any], Any], jobs: Any) -> Iterator[Done[Any, Any]]:
        return self.engine.run(run_miniature_job, jobs)


class Here:
    """An engine that runs its jobs in this process, the last first. fails: gives the error of a job that shall fail."""

    def __init__(self, fails: Callable[[Any], BaseException | None] = lambda job: None):
        self.fails = fails
        self.jobs: list[Any] = []

    def run(self, function: Callable[[Any], Any], jobs: Sequence[Any] | deque[Any]) -> Iterator[Done[Any, Any]]:
        waiting = jobs if isinstance(jobs, deque) else deque(jobs)
        while waiting:
            job = waiting.pop()
            self.jobs.append(job)
            error = self.fails(job)
            yield Done(job, None if error else function(job), error)


def search_miniature(
    config: RunConfig,
    engine: Engine,
    *,
    tasks: Sequence[str] = ("vqa", "grounding"),
    say: Callable[[str], None] = lambda text: None,
    show: Callable[[Progress], None] = lambda found: None,
    dry_run: bool = False,
) -> dict[str, Any]:
    return search(inputs_of(config), tasks, say=say, show=show, engine=OnMiniature(engine), dry_run=dry_run)


def main() -> None:
    """For a test that kills it: python miniature_search.py OUT STRATEGY. Says `begun` when the first trial runs."""
    halving = {"factor": 3, "rungs": 2}
    config = searched_config(sys.argv[1], strategy=sys.argv[2], halving=halving, seeds=[0, 1])
    search_miniature(config, LocalEngine(2), say=lambda text: print(text, flush=True))  # noqa: T201


if __name__ == "__main__":
    main()
