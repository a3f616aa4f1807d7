"""When processes of a group are started again, and when not: by a pretended Ray, and real processes below it."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from tests.engines.pretended_ray import PretendedRay
from tests.engines.test_local import alive, wait_until
from vltool.engines import ray_group
from vltool.engines.launch import Ended
from vltool.engines.ray_group import launch_on_ray
from vltool.errors import VltoolError

COUNT = """
import os, pathlib, signal, sys, time
folder, rank = pathlib.Path(sys.argv[1]), os.environ["RANK"]
turn = len(list(folder.glob(f"{rank}-*")))
(folder / f"{rank}-{turn}").write_text(str(os.getpid()))
"""


def launched(
    ray: PretendedRay, monkeypatch: pytest.MonkeyPatch, folder: Path, code: str, *, size: int = 2
) -> tuple[Ended, list[str]]:
    """How a group that runs `code` after COUNT ended, and what was said."""
    monkeypatch.setattr(ray_group, "cluster", ray.cluster)
    monkeypatch.setattr(ray_group, "address_of_this_node", lambda: "127.0.0.1")
    monkeypatch.setattr(ray_group, "SECONDS_TO_LEAVE", 1.0)
    monkeypatch.setattr(ray_group, "SECONDS_BETWEEN_LOOKS", 0.01)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    said: list[str] = []
    return launch_on_ray(["-c", COUNT + code, str(folder)], size, say=said.append), said


def starts(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_all_are_started_again_when_one_is_killed_and_the_end_is_that_of_the_last_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    code = """
if turn == 0 and rank == "1": os.kill(os.getpid(), signal.SIGKILL)
if turn == 0: sys.exit(70)
if rank == "0": print("résultat")
"""
    ended, said = launched(PretendedRay(), monkeypatch, tmp_path, code)
    assert ended == Ended(0) and starts(tmp_path) == ["0-0", "0-1", "1-0", "1-1"]
    assert said == ["process 1 of 2 or its node is lost: all are started again from the last checkpoint"]
    assert capfd.readouterr().out == "résultat\n"


def test_a_process_that_waits_for_a_lost_node_is_ended_and_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = PretendedRay()

    def lose() -> None:
        wait_until(lambda: len(starts(tmp_path)) == 2)
        ray.groups[0][1].lose()

    thread = threading.Thread(target=lose)
    thread.start()
    code = (
        "\nif turn == 0 and rank == '0': time.sleep(60)\nif turn == 0: os.read(int(os.environ['VLTOOL_LAUNCHED']), 1)"
    )
    ended, said = launched(ray, monkeypatch, tmp_path, code)
    thread.join()
    assert ended == Ended(0) and len(said) == 1 and len(ray.groups) == 2
    assert starts(tmp_path) == ["0-0", "0-1", "1-0", "1-1"]


def test_it_gives_up_after_three_restarts_in_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "\nif rank == '1': os.kill(os.getpid(), signal.SIGKILL)\nsys.exit(70)"
    ended, said = launched(PretendedRay(), monkeypatch, tmp_path, code)
    assert ended.code == 2 and len(said) == 3 and len(starts(tmp_path)) == 8
    assert "lost 4 times, the last one process 1" in ended.message and "run the same command again" in ended.message


def test_losses_far_apart_are_not_in_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_group, "LONG_ENOUGH_S", 0.0)
    code = "\nif rank == '1' and turn < 5: os.kill(os.getpid(), signal.SIGKILL)\nsys.exit(70 if turn < 5 else 0)"
    ended, said = launched(PretendedRay(), monkeypatch, tmp_path, code)
    assert ended == Ended(0) and len(said) == 5


def test_a_process_that_fails_by_itself_is_told_and_not_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "\nif rank == '1': sys.exit('no such thing')\nsys.exit(70)"
    ended, said = launched(PretendedRay(), monkeypatch, tmp_path, code)
    assert ended == Ended(1, "process 1 of 2 ended with code 1:\nno such thing") and not said
    assert len(starts(tmp_path)) == 2


def test_an_interruption_is_passed_on_and_a_second_one_ends_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saves = "\nsignal.signal(signal.SIGTERM, lambda *_: {})\n(folder / f'ready-{{rank}}').touch()\ntime.sleep(60)"

    def interrupt(times: int) -> None:
        wait_until(lambda: len(list(folder.glob("ready-*"))) == 2)
        for _ in range(times):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.5)

    for times, reaction, message in ((1, "sys.exit(130)", ""), (2, "None", "interrupted. What was saved is kept")):
        folder = tmp_path / str(times)
        folder.mkdir()
        thread = threading.Thread(target=interrupt, args=(times,))
        thread.start()
        ended, _ = launched(PretendedRay(), monkeypatch, folder, saves.format(reaction))
        thread.join()
        assert ended.code == 130 and ended.message.startswith(message)
        for path in folder.glob("[01]-0"):
            assert not alive(int(path.read_text()))


def test_it_waits_for_room_until_there_is_some_or_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [False, False, True]
    ended, _ = launched(PretendedRay(lambda: answers.pop(0)), monkeypatch, tmp_path, "")
    assert ended == Ended(0) and not answers
    monkeypatch.setattr(ray_group, "ROOM_S", 0.0)
    with pytest.raises(VltoolError, match="has had no room for 2 processes"):
        launched(PretendedRay(lambda: False), monkeypatch, tmp_path, "")
    with pytest.raises(VltoolError, match="has 1 cores and 0 GPUs; 2 processes need 2 and 0"):
        launched(PretendedRay(cores=1), monkeypatch, tmp_path, "")


def test_a_folder_that_a_node_does_not_have_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_group.os, "getcwd", lambda: str(tmp_path / "none"))
    with pytest.raises(VltoolError, match=r"process 0 cannot be started on its node: .*none.*at the same paths"):
        launched(PretendedRay(), monkeypatch, tmp_path, "")


def test_a_single_process_is_held_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "\nassert os.environ['WORLD_SIZE'] == '1' and int(os.environ['VLTOOL_LAUNCHED']) > 2"
    assert launched(PretendedRay(), monkeypatch, tmp_path, code, size=1) == (Ended(0), [])
