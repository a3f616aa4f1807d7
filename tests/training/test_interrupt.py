"""Stopping in the middle: the update at hand is finished, the state saved, and going on gives the same bits."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.training.test_run import PLAN, inputs, untimed, weights
from vltool.errors import Interrupted
from vltool.report.run_files import read_training
from vltool.training import checkpoint
from vltool.training.interrupt import wish_to_stop
from vltool.training.run import Stop, train


def after(count: int) -> Stop:
    """A wish to stop that comes with the `count`-th question."""
    asked = iter(range(count))
    return lambda: next(asked, None) is None


def test_going_on_from_within_a_cycle_gives_the_same_bits(tmp_path: Path) -> None:
    options = {"evaluate_every": 2, "accumulate": 2}
    whole = train(inputs(tmp_path, **options), PLAN, tmp_path / "whole")
    stopped_at: list[int] = []
    for count in (3, 4, 0, 7, 9, 2, 8, 5, 9, 99):  # questions: one an update, several an evaluation
        try:
            parts = train(inputs(tmp_path, **options), PLAN, tmp_path / "parts", stop=after(count))
        except Interrupted:
            stopped_at.append(checkpoint.load(tmp_path / "parts" / "checkpoint").run["num_updates"])
    assert len(stopped_at) == 9
    assert {update % 6 for update in stopped_at} >= {0, 4}, "one within an evaluation, one within a cycle"
    assert parts.val == whole.val and parts.best == whole.best
    first, second = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert untimed(tmp_path / "whole") == untimed(tmp_path / "parts")


def test_an_interrupted_training_says_where_it_stands_and_how_to_go_on(tmp_path: Path) -> None:
    with pytest.raises(Interrupted, match=r"stopped after update 8 of 30, saved in .*checkpoint. Run the same command"):
        train(inputs(tmp_path), PLAN, tmp_path / "run", stop=after(7))
    saved = checkpoint.load(tmp_path / "run" / "checkpoint")
    assert (saved.cycle, saved.run["num_updates"]) == (1, 8)
    assert list(saved.run["meters"]) == ["vqa"]


def test_the_report_reads_a_training_that_was_interrupted(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        train(inputs(tmp_path), PLAN, tmp_path / "run", stop=after(7))
    found = read_training(tmp_path / "run")
    assert found.plan == PLAN
    assert found.val is None and [line["cycle"] for line in found.log] == [0, 0, 0]


@pytest.fixture
def usual_handlers() -> Iterator[None]:
    """Python's own handlers of both signals, whatever a library has set in this process."""
    before = [(number, signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    for number, handler in before:
        signal.signal(number, handler)


@pytest.mark.usefixtures("usual_handlers")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_a_wish_and_a_second_ctrl_c_leaves_at_once(number: signal.Signals) -> None:
    told = threading.Event()
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with wish_to_stop(lambda text: told.set()) as stop:
        assert not stop()
        signal.raise_signal(number)
        assert stop() and told.wait(10)
        signal.raise_signal(signal.SIGTERM)  # a launcher may send it after the terminal's SIGINT
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_handlers_of_others_and_other_threads_are_left_alone() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with wish_to_stop(print):
            assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    found: list[bool] = []

    def work() -> None:
        with wish_to_stop(print) as stop:
            found.append(stop())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [False]
