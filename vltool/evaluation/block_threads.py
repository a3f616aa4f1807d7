"""Blocks of pairs in several threads, each of which computes its block alone.

Threads that share the work of every operation wait for each other after each; threads with a block each do not, and
one goes over memory while the other multiplies. What a block gives does not depend on how many threads there are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

from vltool.models.precision import compute_in

Block = TypeVar("Block")
Result = TypeVar("Result")


def for_each_block(
    work: Callable[[Block], Result],
    blocks: Iterable[Block],
    done: Callable[[Block, Result], None],
    *,
    device: torch.device,
    precision: str,
) -> None:
    """`done` with each block and what `work` made of it, in this thread and in order; `work` records no gradient.

    On a processor as many blocks are worked on at once as torch has threads; elsewhere one. The first is worked on
    alone, so that what is kept from block to block is there for all threads. An error ends the others too.
    """
    num_threads = torch.get_num_threads() if device.type == "cpu" else 1
    if num_threads == 1:
        with torch.no_grad(), compute_in(precision, device):
            for block in blocks:
                done(block, work(block))
        return

    def begin() -> None:
        """These are a thread's own settings, for as long as it lives."""
        torch.set_num_threads(1)
        torch.set_grad_enabled(False)
        compute_in(precision, device).__enter__()

    pool = ThreadPoolExecutor(num_threads, thread_name_prefix="pairs", initializer=begin)
    waiting: deque[tuple[Block, Future[Result]]] = deque()

    def take_first() -> None:
        block, future = waiting.popleft()
        done(block, future.result())

    try:
        for number, block in enumerate(blocks):
            waiting.append((block, pool.submit(work, block)))
            if number == 0 or len(waiting) > 2 * num_threads:
                take_first()
        while waiting:
            take_first()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(num_threads)  # of threads that begin from now on
