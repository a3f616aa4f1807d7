"""The layer search: grids, trials as jobs, the choice, the plan file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.miniature import miniature_config
from vltool.config import RunConfig, dump, from_dict
from vltool.engines.engine import Done
from vltool.engines.local import LocalEngine
from vltool.errors import ConfigError, DataError, TrainingError
from vltool.search.grid import task_grid
from vltool.search.plan import choose, load_chosen, load_plan, save_plan
from vltool.search.trials import TrialResult, list_trials, run_trials
from vltool.structures import TaskPlan


def config_with(search: dict[str, Any], out: str = "nowhere") -> RunConfig:
    return from_dict({**dump(miniature_config(out)), "search": search})


GRID = {"level": [1, 3], "batch_size": [4], "num_updates": [6, 12], "step_size": [6]}


def result(task: str, level: int, score: float, *, updates: int = 10, error: str = "") -> TrialResult:
    plan = TaskPlan(task, level, updates, 8, 5)
    return TrialResult(plan, f"search/{task}/l{level}", "accuracy", {} if error else {"accuracy": score}, 1.0, error)


def test_a_grid_is_every_combination_and_a_task_may_replace_lists() -> None:
    config = config_with({"grid": GRID, "tasks": {"vqa": {"level": [2]}}})
    assert len(task_grid(config, "grounding", num_levels=3)) == 4
    assert [(plan.level, plan.num_updates) for plan in task_grid(config, "vqa", num_levels=3)] == [(2, 6), (2, 12)]


def test_without_levels_all_are_tried() -> None:
    config = config_with({"grid": {**GRID, "level": []}})
    assert {plan.level for plan in task_grid(config, "vqa", num_levels=3)} == {1, 2, 3}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"level": [0]}, r"search.grid.level \(task vqa\) holds 0; legal is 1 to 3, the encoder's levels"),
        ({"level": [4]}, "holds 4; legal is 1 to 3"),
        ({"batch_size": []}, "batch_size .* is empty"),
        ({"num_updates": [-1]}, "holds -1; legal is 1 or more"),
    ],
)
def test_impossible_grids_are_refused_before_anything_runs(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        task_grid(config_with({"grid": {**GRID, **change}}), "vqa", num_levels=3)


def test_the_best_validation_score_wins_and_equals_go_to_the_lowest_level() -> None:
    results = [result("vqa", 3, 50.0), result("vqa", 2, 50.0), result("vqa", 1, 49.0), result("grounding", 1, 10.0)]
    chosen = choose(results)
    assert chosen["vqa"].plan.level == 2
    assert chosen["grounding"].plan.level == 1


def test_failed_trials_are_passed_over_but_not_if_all_fail() -> None:
    assert choose([result("vqa", 1, 0, error="broke"), result("vqa", 2, 1.0)])["vqa"].plan.level == 2
    with pytest.raises(TrainingError, match="every trial of vqa failed"):
        choose([result("vqa", 1, 0, error="broke")])


def test_a_plan_file_is_read_back_and_says_what_it_lacks(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    save_plan(path, [result("vqa", 2, 50.0), result("vqa", 1, 49.5)])
    assert load_plan(path, ["vqa"]) == (TaskPlan("vqa", 2, 10, 8, 5),)
    assert load_chosen(path)["vqa"]["runner_up"] == 49.5
    with pytest.raises(ConfigError, match="no plan for task 'grounding'; it has vqa"):
        load_plan(path, ["vqa", "grounding"])
    with pytest.raises(ConfigError, match="no plan file"):
        load_plan(tmp_path / "none.json", ["vqa"])
    path.write_text(json.dumps({"tasks": [{"task": "vqa"}]}))
    with pytest.raises(ConfigError, match="not a plan file"):
        load_plan(path, ["vqa"])


class Here:
    """An engine that runs its jobs in this process; errors are given with their job, as every engine does."""

    def __init__(self, fails: Callable[[Any], BaseException | None]):
        self.fails = fails

    def run(self, function: Callable[[Any], Any], jobs: Sequence[Any]) -> Iterator[Done[Any, Any]]:
        for job in reversed(jobs):  # in any order
            error = self.fails(job)
            yield Done(job, None if error else result(job.plan.task, job.plan.level, job.plan.level), error)


def test_results_keep_the_order_of_trials_and_a_users_error_does_not_stop_the_search() -> None:
    trials = list_trials(config_with({"grid": GRID}), ["vqa"])
    done = run_trials(trials, Here(lambda job: DataError("no picture") if job.plan.level == 3 else None))
    assert [found.plan.level for found in done] == [trial.plan.level for trial in trials]
    assert {found.error for found in done if found.plan.level == 3} == {"no picture"}


def test_a_bug_in_a_trial_is_not_swallowed() -> None:
    trials = list_trials(config_with({"grid": GRID}), ["vqa"])
    with pytest.raises(ZeroDivisionError):
        run_trials(trials, Here(lambda job: ZeroDivisionError()))


def square(number: int) -> int:
    if number == 3:
        raise DataError("three")
    return number * number


def test_the_local_engine_runs_jobs_in_processes_and_hands_errors_back() -> None:
    found = {done.job: (done.result, str(done.error or "")) for done in LocalEngine(2).run(square, [1, 2, 3])}
    assert found == {1: (1, ""), 2: (4, ""), 3: (None, "three")}


def report_pid_and_wait(path: str) -> None:
    Path(path).write_text(str(os.getpid()))
    time.sleep(60)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_at_once_with_a_parent_that_is_killed_or_interrupted(tmp_path: Path, number: int) -> None:
    path = tmp_path / "pid"
    code = (
        "from tests.search.test_search import report_pid_and_wait; from vltool.engines.local import LocalEngine\n"
        f"if __name__ == '__main__': list(LocalEngine(1).run(report_pid_and_wait, [{str(path)!r}]))"
    )
    script = tmp_path / "parent.py"
    script.write_text(code)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    parent = subprocess.Popen([sys.executable, str(script)], env=environment, stderr=subprocess.DEVNULL)
    try:
        wait_until(path.exists)
    finally:
        parent.send_signal(number)
        parent.wait(timeout=30)
    worker = int(path.read_text())
    wait_until(lambda: not alive(worker))


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and waits to be collected does not."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(reached: Callable[[], bool], seconds: float = 40) -> None:
    started = time.monotonic()
    while not reached():
        assert time.monotonic() - started < seconds, "waited in vain"
        time.sleep(0.1)


def test_a_later_search_of_one_task_keeps_the_plans_of_the_others(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    save_plan(path, [result("vqa", 2, 50.0), result("grounding", 1, 90.0)])
    save_plan(path, [result("vqa", 3, 60.0)])
    assert [plan.level for plan in load_plan(path, ["vqa", "grounding"])] == [3, 1]
    assert set(load_chosen(path)) == {"vqa", "grounding"}
