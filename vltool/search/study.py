"""A layer search from start to finish: what is due is run by an engine, kept in the records, and chosen from."""

from __future__ import annotations

import json
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vltool.config import RunConfig, dump
from vltool.engines.engine import Done, Engine
from vltool.errors import VltoolError
from vltool.search.choice import cell_scores, choose
from vltool.search.estimate import TaskCosts, measure_task
from vltool.search.plan import about_sharers, save_plan
from vltool.search.records import copy_of_study
from vltool.search.table import trial_rows, write_trials
from vltool.search.task_search import Due, TaskSearch, check_data, list_trials
from vltool.search.trials import Job, SearchStopped, Trial, TrialResult, run_job
from vltool.training.run import RunInputs, pick_device
from vltool.training.timing import readable

STUDY_NAME = "study.sqlite"


@dataclass(frozen=True)
class Progress:
    """Where a search stands. best: (task, cell, metric, score over its seeds) so far; seconds_left: None unknown."""

    done: int
    total: int
    seconds_left: float | None
    best: tuple[tuple[str, str, str, float], ...]


Say = Callable[[str], None]
Show = Callable[[Progress], None]


def search(
    inputs: RunInputs,
    tasks: Sequence[str],
    *,
    say: Say,
    show: Show,
    engine: Engine | None = None,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Search the grids of some tasks and write the plan and the table of trials; gives counts, JSON values.

    dry_run: stop before the first trial. engine: default the configured one. A user's error in a trial is recorded; an
    error of ours too, and raised when everything else is done.
    """
    config = inputs.config
    trials = list_trials(config, tasks)
    check_data(inputs, trials)
    searches = [TaskSearch(task, own, config) for task, own in trials.items()]
    engine, places, threads = (engine, 1, 1) if engine else make_engine(config)
    costs = {own.task: measure_task(inputs, own.cells, num_threads=threads) for own in searches}
    path = config.out_dir / "search" / STUDY_NAME
    with copy_of_study(path) if dry_run else nullcontext(path) as place:
        for own in searches:
            own.open(inputs, place)
        counts = _announce(searches, costs, places, config, say)
    if dry_run:
        return {**counts, "outputs": []}
    bug = _run(searches, costs, engine, places, config, say, show)
    found = {**counts, **_finish(searches, config, say)}
    if bug is not None:
        raise bug
    return found


def make_engine(config: RunConfig) -> tuple[Engine, int, int]:
    """The configured engine, how many trials it runs at once (as far as is known here), and threads of each."""
    import torch

    from vltool.engines.local import LocalEngine

    settings = config.search
    on_gpu = pick_device(config.training.device).type == "cuda"
    local = LocalEngine(settings.jobs, num_gpus=torch.cuda.device_count() if on_gpu else 0)
    if settings.engine == "local":
        return local, local.num_jobs, local.num_threads
    from vltool.engines.ray import RayEngine

    if settings.ray_address:
        share = float(config.training.device.startswith("cuda"))
        ray = RayEngine(settings.jobs, address=settings.ray_address, gpus_per_job=share)
        return ray, settings.jobs or local.num_jobs, ray.num_threads
    ray = RayEngine(
        local.num_jobs, num_threads=local.num_threads, gpus_per_job=min(1.0, local.num_gpus / local.num_jobs)
    )
    return ray, local.num_jobs, local.num_threads


def _announce(
    searches: Sequence[TaskSearch], costs: dict[str, TaskCosts], places: int, config: RunConfig, say: Say
) -> dict[str, Any]:
    """Say how many trials there are and how long they take, and give it."""
    total = sum(own.seconds(costs[own.task]) for own in searches)
    left = total - sum(own.seconds_done(costs[own.task]) for own in searches if own.records)
    counts: dict[str, Any] = {
        "trials": sum(len(own.trials) for own in searches),
        "updates": sum(own.num_updates() for own in searches),
        "seconds_estimated": max(0.0, left) / places,
        "seconds_per_update": {task: cost.dearest.seconds for task, cost in costs.items()},
    }
    known = sum(
        own.records is not None and own.records.result(t, 0) is not None for own in searches for t in own.trials
    )
    steps = ", ".join(f"{task} {cost.told()}" for task, cost in costs.items())
    rungs = " → ".join(f"{100 * share:.0f} %" for share in searches[0].shares)
    say(
        f"{counts['trials']} trials of {len(searches)} tasks, {counts['updates']:,} updates"
        + (f", by halving ({rungs} of a cell's updates)" if len(searches[0].shares) > 1 else "")
        + (f"; {known} trials have begun before" if known else "")
    )
    say(
        f"about {readable(counts['seconds_estimated'])} with {places} at once (an update measured: {steps})"
        + (f"; stops after {config.search.budget.hours:g} h" if config.search.budget.hours else "")
    )
    return counts


def _run(
    searches: Sequence[TaskSearch],
    costs: dict[str, TaskCosts],
    engine: Engine,
    places: int,
    config: RunConfig,
    say: Say,
    show: Show,
) -> BaseException | None:
    """Run what is due until nothing is; the first error that is a bug, if there was one."""
    started = time.monotonic()
    hours = config.search.budget.hours
    until = time.time() + 3600 * hours if hours else 0.0
    text = json.dumps(dump(config))
    by_task = {own.task: own for own in searches}
    bug: BaseException | None = None

    def jobs_of(due: Sequence[Due]) -> list[Job]:
        made = [Job(trial, rung, by_task[trial.task].shares[rung], text, until) for trial, rung in due]
        if hours:  # whatever is left undone should be anything
            random.Random(config.seed).shuffle(made)
            return made
        return sorted(made, key=lambda job: -costs[job.trial.task].of(job.trial.cell).trial_seconds(job.plan))

    known = sum(own.seconds_done(costs[own.task]) for own in searches)
    waiting = deque(jobs_of([due for own in searches for due in own.due()]))
    for done in engine.run(run_job, waiting):
        result = _result(done)
        if result is not None:
            if done.error is not None and not is_users(done.error):
                bug = bug or done.error
            own = by_task[result.trial.task]
            assert own.records is not None
            own.records.record(result)
            say(_told(result))
            waiting.extend(jobs_of(own.due()))
        if until and time.time() > until:
            waiting.clear()
        show(_progress(searches, costs, known, time.monotonic() - started, places))
    return bug


def _result(done: Done[Job, TrialResult]) -> TrialResult | None:
    """The result of a job, or its failure; None where it was only stopped."""
    if done.error is None:
        return done.result
    if isinstance(done.error, SearchStopped):
        return None
    error = str(done.error) if isinstance(done.error, VltoolError) else f"{type(done.error).__name__}: {done.error}"
    return TrialResult(done.job.trial, done.job.rung, 0, "", {}, 0.0, error=error)


def is_users(error: BaseException) -> bool:
    """Whether an error is something that a user can mend: named by us, of the system, or too little memory."""
    import torch

    return isinstance(error, VltoolError | OSError | MemoryError | torch.OutOfMemoryError)


def _told(result: TrialResult) -> str:
    what = f"failed: {result.error}" if result.error else f"{result.metric} {result.score:.2f}"
    after = f" after {result.num_updates:,} updates" if result.num_updates else ""
    return f"{result.trial.task} {result.trial.name}{after}: {what} ({result.seconds:.0f} s)"


def _progress(
    searches: Sequence[TaskSearch], costs: dict[str, TaskCosts], known: float, elapsed: float, places: int
) -> Progress:
    best, done = [], 0
    for own in searches:
        assert own.records is not None
        results = own.records.results()
        done += len(results)
        cells = cell_scores(results, num_seeds=len(own.trials) // len(own.cells))
        if cells:
            first = max(cells, key=lambda found: (found.last_rung, found.mean()))
            best.append((own.task, first.cell.name, first.metric, first.mean()))
    predicted = sum(own.seconds_done(costs[own.task]) for own in searches)
    left = max(0.0, sum(own.seconds(costs[own.task]) for own in searches) - predicted)
    fresh = predicted - known
    seconds = left * elapsed / fresh if fresh > 0 else None
    total = sum(sum(own.counts()) for own in searches)
    return Progress(done, max(done, total), seconds, tuple(best))


def _finish(searches: Sequence[TaskSearch], config: RunConfig, say: Say) -> dict[str, Any]:
    """Write the table of trials and the plan; counts of them."""
    results = [found for own in searches if own.records for found in own.records.results()]
    pruned = [trial for own in searches for trial in own.pruned()]
    trials = [trial for own in searches for trial in own.trials]
    for own in searches:
        own.close()
    num_seeds = len(trials) // len(dict.fromkeys(trial.cell for trial in trials))
    folder = config.out_dir / "search"
    try:
        chosen = choose(
            results, [own.task for own in searches], num_seeds=num_seeds, shared_decoders=config.shared_decoders
        )
    except VltoolError:
        write_trials(folder, trial_rows(results, trials, pruned=pruned, best=[]))
        raise
    best: list[Trial] = [t for t in trials if t.cell == chosen[t.task].best.cell]
    rows = trial_rows(results, trials, pruned=pruned, best=best)
    tables = write_trials(folder, rows)
    plan = save_plan(Path(config.training.plan), chosen, shares=searches[0].shares)
    for told in about_sharers(config, chosen, plan):
        say(told)
    failed = sum(row["state"] == "failed" for row in rows)
    if failed:
        say(f"{failed} trials failed; their errors are in {tables[0]}")
    return {
        "trained_updates": sum(row["trained_updates"] for row in rows),
        "failed": failed,
        "unfinished": sum(not own.finished for own in searches),
        "levels": {task["task"]: task["level"] for task in plan["tasks"]},
        "chosen": plan["chosen"],
        "table": tables[0],
        "outputs": [config.training.plan, *tables],
    }
