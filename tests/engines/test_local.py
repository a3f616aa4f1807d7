"""The engine of processes: errors given back, a dying process, work added on the way, nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engines.jobs import die_at_two, report_pid_and_wait, square, threads
from vltool.engines.local import LocalEngine, device_shares, num_cores


def test_jobs_run_in_processes_and_errors_are_handed_back() -> None:
    found = {done.job: (done.result, str(done.error or "")) for done in LocalEngine(2).run(square, [1, 2, 3])}
    assert found == {1: (1, ""), 2: (4, ""), 3: (None, "three")}


def test_jobs_added_while_results_are_read_are_run_too() -> None:
    waiting = deque([1])
    found = []
    for done in LocalEngine(1).run(square, waiting):
        found.append(done.result)
        if done.job < 20:
            waiting.append(10 * done.job + 10)
    assert found == [1, 400]


def test_a_process_that_dies_fails_its_own_job_and_no_other() -> None:
    found = {done.job: (done.result, str(done.error or "")) for done in LocalEngine(2).run(die_at_two, [1, 2, 3, 4])}
    assert found[2][0] is None and "the process that ran it died without a word" in found[2][1]
    assert {job: found[job] for job in (1, 3, 4)} == {1: (1, ""), 3: (3, ""), 4: (4, "")}


def test_threads_are_divided_among_the_jobs() -> None:
    assert [done.result for done in LocalEngine(1).run(threads, deque([0]))] == [num_cores()]
    assert [done.result for done in LocalEngine(num_cores()).run(threads, deque([0]))] == [1]


def test_places_go_round_the_gpus_and_share_their_memory() -> None:
    assert device_shares(3, 2) == [(0, 0.5), (1, 1.0), (0, 0.5)]
    assert device_shares(2, 0) == []
    assert LocalEngine(0, num_gpus=4).num_jobs == 4


def test_running_jobs_end_when_their_results_are_no_longer_read(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    waiting = deque([str(path), str(tmp_path / "none" / "pid")])  # the second fails at once
    results = LocalEngine(2).run(report_pid_and_wait, waiting)
    assert next(results).error is not None
    wait_until(path.exists)
    results.close()
    wait_until(lambda: not alive(int(path.read_text())))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_a_parent_that_is_killed_or_interrupted(tmp_path: Path, number: int) -> None:
    path = tmp_path / "pid"
    script = tmp_path / "parent.py"
    script.write_text(
        "from tests.engines.jobs import report_pid_and_wait; from vltool.engines.local import LocalEngine\n"
        f"if __name__ == '__main__': list(LocalEngine(1).run(report_pid_and_wait, [{str(path)!r}]))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    parent = subprocess.Popen([sys.executable, str(script)], env=environment, stderr=subprocess.DEVNULL)
    try:
        wait_until(path.exists)
    finally:
        parent.send_signal(number)
        parent.wait(timeout=30)
    wait_until(lambda: not alive(int(path.read_text())))


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and waits to be collected does not."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(reached: Callable[[], bool], seconds: float = 60) -> None:
    started = time.monotonic()
    while not reached():
        assert time.monotonic() - started < seconds, "waited in vain"
        time.sleep(0.1)
