"""`train-joint --engine ray`: processes in the places of a cluster; what is lost is started again, to the same bits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engines.clusters import two_nodes
from tests.engines.test_local import wait_until
from vltool.engines.launch import launch
from vltool.engines.processes import LOST
from vltool.engines.ray_group import GONE, _is_lost, launch_on_ray
from vltool.errors import VltoolError
from vltool.training import checkpoint

ray = pytest.importorskip("ray")
TIMES = 8  # as many updates as the miniature's own plan: long enough to be disturbed twice
WAIT_S = 900  # on a machine that others use
ROOT = Path(__file__).parents[2]
LAUNCH = """
import sys
from vltool.engines.ray_group import launch_on_ray
ended = launch_on_ray(sys.argv[2:], 2, address=sys.argv[1], say=lambda text: print(text, flush=True))
sys.exit(ended.message or ended.code)
"""
TOGETHER = ("-m", "tests.training.together")


def test_processes_that_are_gone_or_left_alone_are_lost_and_those_that_fail_are_not() -> None:
    assert _is_lost([0, GONE]) and _is_lost([LOST, GONE]) and _is_lost([LOST, LOST])
    assert not _is_lost([0, 0]) and not _is_lost([2, LOST]) and not _is_lost([2, GONE]) and not _is_lost([130, 130])


def updates_saved(folder: Path) -> int:
    try:
        return int(checkpoint.load(folder / "checkpoint").run["num_updates"])
    except (OSError, VltoolError):
        return 0


def updates_after(folder: Path, number: int) -> int:
    """How many updates are saved when they are more than so many."""
    wait_until(lambda: updates_saved(folder) > number, seconds=WAIT_S)
    return updates_saved(folder)


def weights(folder: Path) -> str:
    first, second = ((folder / f"weights-{rank}.txt").read_text() for rank in (0, 1))
    assert first == second
    return first


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_a_training_that_loses_a_process_and_then_a_node_ends_with_the_bits_of_the_local_engine(tmp_path: Path) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    for folder in (there, here):
        folder.mkdir()
    assert launch([sys.executable, *TOGETHER, str(here), "-1", str(TIMES)], 2).code == 0
    with two_nodes() as (cluster, lost):  # nodes come and go from the main thread alone, as does what it launches
        command = [sys.executable, "-c", LAUNCH, cluster.address, *TOGETHER, str(there), "-1", str(TIMES)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            first = updates_after(there, 20)
            os.kill(int((there / "pid-1.txt").read_text()), signal.SIGKILL)
            second = updates_after(there, first + 60)
            cluster.remove_node(lost, allow_graceful=False)
            cluster.add_node(num_cpus=1)
            said = process.communicate()[0]
    assert process.returncode == 0, said
    assert said.count("lost: all are started again") >= 2, said
    assert first < second < 60 * TIMES, "it was over before it was disturbed"
    assert weights(there) == weights(here)


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_a_failing_process_is_told_and_not_started_again_and_an_interruption_is_passed_on(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    says = "import os, sys; print('out', os.environ['RANK']); sys.stderr.write('err\\n'); "
    with two_nodes() as (cluster, _):

        def run(code: str, size: int = 2) -> tuple[int, str]:
            ended = launch_on_ray(["-c", says + code], size, address=cluster.address, say=lambda text: None)
            return ended.code, ended.message

        assert run("sys.exit('no such thing') if os.environ['RANK'] == '1' else sys.exit(70)") == (
            1,
            "process 1 of 2 ended with code 1:\nerr\nno such thing",
        )
        assert run("sys.exit(2)", 1) == (2, "")
        seen = capfd.readouterr()
        assert seen.out == "out 0\nout 0\n" and seen.err == "err\nerr\n", "the first process speaks, and no other"
        with pytest.raises(VltoolError, match="has 2 cores and 0 GPUs; 3 processes need 3 and 0"):
            run("", 3)
        leave = (
            "import signal, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(130)); "
            f"open({str(tmp_path)!r} + '/ready-' + os.environ['RANK'], 'w')"
        )

        def interrupt() -> None:
            wait_until(lambda: len(list(tmp_path.glob("ready-*"))) == 2, seconds=WAIT_S)
            os.kill(os.getpid(), signal.SIGINT)

        with in_background(interrupt):
            assert run(leave + "; time.sleep(60)") == (130, "")


class in_background:
    """Meanwhile, something is done by a thread, whose error is raised at the end."""

    def __init__(self, action: Callable[[], object]):
        self.action, self.error = action, None
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            self.action()
        except BaseException as error:  # noqa: BLE001 - raised at the end
            self.error = error

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, *_: object) -> None:
        self.thread.join()
        if self.error is not None:
            raise self.error
