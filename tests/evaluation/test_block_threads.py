"""Blocks in several threads give what they give one after the other."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import torch

from vltool.evaluation import block_threads
from vltool.evaluation.block_threads import for_each_block

CPU = torch.device("cpu")


@pytest.fixture(params=[1, 2, 3])
def num_threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_blocks_are_done_in_order_by_threads_with_their_own_settings(num_threads: int) -> None:
    done, workers, calling = [], set(), threading.current_thread().name

    def work(number: int) -> tuple[int, int, bool, torch.dtype]:
        workers.add(threading.current_thread().name)
        time.sleep(0.002 * (number % 3))  # the later one is ready first
        dtype = (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
        return number, torch.get_num_threads(), torch.is_grad_enabled(), dtype

    def take(block: int, result: tuple[int, int, bool, torch.dtype]) -> None:
        assert threading.current_thread().name == calling
        done.append((block, result))

    for_each_block(work, range(20), take, device=CPU, precision="bfloat16")
    assert done == [(number, (number, 1, False, torch.bfloat16)) for number in range(20)]
    assert len(workers) <= num_threads and (num_threads == 1) == (workers == {calling})
    assert torch.get_num_threads() == num_threads and torch.is_grad_enabled()


def test_the_first_block_is_worked_on_alone(num_threads: int) -> None:
    first, others = threading.Event(), []

    def work(number: int) -> None:
        if number == 0:
            time.sleep(0.05)
            first.set()
        others.append(first.is_set())

    for_each_block(work, range(8), lambda *_: None, device=CPU, precision="float32")
    assert others == [True] * 8


def test_an_error_ends_the_others(num_threads: int) -> None:
    begun = []

    def work(number: int) -> int:
        begun.append(number)
        if number == 3:
            raise RuntimeError("no memory")
        return number

    done: list[int] = []
    with pytest.raises(RuntimeError, match="no memory"):
        for_each_block(work, range(1000), lambda _, result: done.append(result), device=CPU, precision="float32")
    assert done == [0, 1, 2] and len(begun) < 100
    assert torch.get_num_threads() == num_threads
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("pairs")]


def test_few_blocks_are_worked_on_by_all_threads(num_threads: int) -> None:
    threads: list[int] = []
    for_each_block(
        lambda _: torch.get_num_threads(),
        [0],
        lambda _, result: threads.append(result),
        device=CPU,
        precision="float32",
    )
    assert threads == [num_threads]


def test_threads_that_are_left_help(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    monkeypatch.setattr(block_threads, "MOST_AT_ONCE", 2)
    torch.set_num_threads(5)
    threads: set[int] = set()
    try:
        for_each_block(
            lambda _: torch.get_num_threads(),
            range(10),
            lambda _, result: threads.add(result),
            device=CPU,
            precision="float32",
        )
    finally:
        torch.set_num_threads(before)
    assert threads == {2}


def test_no_blocks(num_threads: int) -> None:
    for_each_block(lambda block: block, [], lambda *_: pytest.fail("there is none"), device=CPU, precision="float32")
