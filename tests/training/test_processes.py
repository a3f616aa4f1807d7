"""Several processes against one with the same global batch; what happens when one of them dies."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.training.together import PLAN, STEERED, train_here
from vltool.engines import meeting
from vltool.engines.launch import free_port, launch
from vltool.engines.processes import ALONE, Processes, join
from vltool.errors import ConfigError, TrainingError
from vltool.training import checkpoint
from vltool.training.gradients import add_up_gradients
from vltool.training.run_log import read_log


def together(folder: Path, *arguments: object, num_processes: int = 2) -> Any:
    folder.mkdir()
    command = [sys.executable, "-m", "tests.training.together", str(folder), *map(str, arguments)]
    return launch(command, num_processes)


def test_two_processes_learn_what_one_does_with_the_same_batches(tmp_path: Path) -> None:
    """Batches of 7, 6 and 5 examples, that two do not divide evenly; 60 updates; dropout off."""
    ended = together(tmp_path / "two")
    assert ended.code == 0, ended.message
    alone = train_here(tmp_path / "one", evaluate_every=2)
    losses = json.loads((tmp_path / "two" / "losses.json").read_text())
    assert len(losses) == PLAN.updates_before() == 60
    assert [name for name, _ in losses] == [name for name, _ in alone]
    torch.testing.assert_close(
        torch.tensor([loss for _, loss in losses]), torch.tensor([loss for _, loss in alone]), rtol=0, atol=1e-5
    )
    one, two = ({(x["update"], x["task"]): x for x in read_log(tmp_path / name)} for name in ("one", "two"))
    assert set(one) == set(two)
    for key, line in one.items():
        assert two[key].get("scores", {}) == pytest.approx(line.get("scores", {}))
    names = {path.name for path in (tmp_path / "one").iterdir()}
    assert {path.name for path in (tmp_path / "two").iterdir()} - names == {
        "losses.json",
        "weights-0.txt",
        "weights-1.txt",
        "pid-0.txt",
        "pid-1.txt",
    }


@pytest.mark.slow
def test_processes_agree_on_who_rests(tmp_path: Path) -> None:
    ended = together(tmp_path / "two", "steered")
    assert ended.code == 0, ended.message
    alone = train_here(tmp_path / "one", **STEERED)
    losses = json.loads((tmp_path / "two" / "losses.json").read_text())
    assert [name for name, _ in losses] == [name for name, _ in alone]
    assert len(alone) < PLAN.updates_before()


@pytest.mark.slow
def test_a_process_that_dies_ends_the_others_and_the_training_goes_on_later(tmp_path: Path) -> None:
    ended = together(tmp_path / "two", 40)
    assert ended.code == 2
    assert "process 1 of 2 was killed by SIGKILL" in ended.message
    assert "run the same command again" in ended.message
    assert checkpoint.load(tmp_path / "two" / "checkpoint").run["num_updates"] == 36
    again = [sys.executable, "-m", "tests.training.together", str(tmp_path / "two")]
    assert launch(again, 2).code == 0
    assert together(tmp_path / "whole").code == 0
    assert (tmp_path / "two" / "weights-0.txt").read_text() == (tmp_path / "whole" / "weights-0.txt").read_text()


def test_the_error_of_a_process_that_cannot_speak_is_told() -> None:
    code = "import os, sys; sys.exit('no such thing') if os.environ['RANK'] == '1' else sys.exit(70)"
    ended = launch([sys.executable, "-c", code], 2)
    assert (ended.code, ended.message) == (1, "process 1 of 2 ended with code 1:\nno such thing")


def test_a_process_of_several_leaves_with_its_code_and_tears_nothing_down() -> None:
    code = (
        "import atexit, os, sys; from vltool.engines.processes import leave\n"
        "atexit.register(lambda: sys.stderr.write('torn down'))\n"
        "leave('no such thing' if os.environ['RANK'] == '1' else 70)"
    )
    ended = launch([sys.executable, "-c", code], 2)
    assert (ended.code, ended.message) == (1, "process 1 of 2 ended with code 1:\nno such thing")


def test_an_error_of_the_first_process_is_not_told_twice() -> None:
    ended = launch([sys.executable, "-c", "import sys; sys.exit(2)"], 3)
    assert (ended.code, ended.message) == (2, "")


def test_an_interruption_of_all_is_one() -> None:
    ended = launch([sys.executable, "-c", "import sys; sys.exit(130)"], 2)
    assert (ended.code, ended.message) == (130, "")


class Pair(Processes):
    """Two processes of which the other one has the gradients `theirs` (None: not reached)."""

    def __init__(self, theirs: list[Tensor | None]) -> None:
        super().__init__(0, 2)
        object.__setattr__(self, "theirs", theirs)
        object.__setattr__(self, "calls", [])

    def add_up(self, tensor: Tensor) -> None:
        self.calls.append(tensor)  # type: ignore[attr-defined]
        if len(self.calls) == 1:  # type: ignore[attr-defined]
            tensor += torch.tensor([0.5, *(float(g is not None) for g in self.theirs)], dtype=torch.float64)  # type: ignore[attr-defined]
        else:
            tensor += torch.cat([g for g in self.theirs if g is not None])  # type: ignore[attr-defined]


def test_gradients_are_added_and_those_of_nobody_stay_none() -> None:
    both, theirs, nobody = (nn.Parameter(torch.zeros(2)) for _ in range(3))
    both.grad = torch.tensor([1.0, 2.0])
    loss = add_up_gradients(
        [both, theirs, nobody], 0.25, Pair([torch.tensor([3.0, 4.0]), torch.tensor([5.0, 6.0]), None])
    )
    assert loss == 0.75
    assert both.grad.tolist() == [4.0, 6.0]
    assert theirs.grad is not None and theirs.grad.tolist() == [5.0, 6.0]
    assert nobody.grad is None


def test_shares_cover_everything_once() -> None:
    for count in (0, 1, 2, 7, 100):
        for size in (1, 2, 3, 8):
            shares = [Processes(rank, size).share_of(count) for rank in range(size)]
            assert [k for share in shares for k in share] == list(range(count))


def test_a_process_alone_pays_nothing_and_half_a_launch_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ALONE.any(True) is True and ALONE.gather("x") == ["x"]
    with join("cpu") as processes:
        assert processes is ALONE
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(ConfigError, match=r"WORLD_SIZE is set, but RANK is not\. Start"), join("cpu"):
        pass


def started_as(monkeypatch: pytest.MonkeyPatch, **variables: object) -> None:
    usual = {"RANK": 0, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    for name, value in {**usual, **variables}.items():
        monkeypatch.setenv(name, str(value))


@pytest.mark.parametrize(
    ("name", "value", "legal"),
    [
        ("WORLD_SIZE", "two", "1 or more"),
        ("WORLD_SIZE", "-1", "1 or more"),
        ("RANK", "2", "0 to 1"),
        ("RANK", "first", "0 to 1"),
        ("MASTER_PORT", "http", "1 to 65535"),
    ],
)
def test_a_place_in_a_group_that_cannot_be_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, legal: str
) -> None:
    started_as(monkeypatch, **{name: value})
    with pytest.raises(ConfigError, match=rf"^{name} is '{value}' in the environment; legal is {legal}\."), join("cpu"):
        pass


@pytest.mark.parametrize(
    ("rank", "size", "told"),
    [
        (0, 2, r"process 1 of 2 did not come within 0\.5 s to process 0 at 127\.0\.0\.1:\d+ \(this is process 0\)"),
        (0, 4, r"processes 1, 2, 3 of 4 did not come"),
        (1, 2, r"process 0 of 2 did not come within 0\.5 s .*Start it too, with this MASTER_ADDR"),
    ],
)
def test_a_process_to_which_the_others_do_not_come_says_who_is_missing(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], rank: int, size: int, told: str
) -> None:
    monkeypatch.setattr(meeting, "SECONDS_TO_COME", 0.5)
    started_as(monkeypatch, RANK=rank, WORLD_SIZE=size)
    with pytest.raises(TrainingError, match=told), join("cpu"):
        pass
    assert capfd.readouterr().err == ""


def test_a_port_that_is_taken_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        started_as(monkeypatch, MASTER_PORT=taken.getsockname()[1])
        with (
            pytest.raises(TrainingError, match=r"process 0 of 2 cannot listen .*MASTER_PORT to a free port"),
            join("cpu"),
        ):
            pass
