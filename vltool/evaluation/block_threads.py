"""Blocks of pairs in several threads, each of which computes its block alone.

Threads that share the work of every operation wait for each other after each; threads with a block each do not, and
one goes over memory while the other multiplies.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

from vltool.models.precision import compute_in

Block = TypeVar("Block")
Result = TypeVar("Result")

MOST_AT_ONCE = 16
"""Each block has memory of its own: some 100 MB at width 1024, more in float32."""


def for_each_block(
    work: Callable[[Block], Result],
    blocks: Sequence[Block],
    done: Callable[[Block, Result], None],
    *,
    device: torch.device,
    precision: str,
) -> None:
    """`done` with each block and what `work` made of it, in this thread and in order; no gradient is recorded.

    On a processor as many blocks are worked on at once as torch has threads, up to MOST_AT_ONCE, and the threads that
    are left help with their operations; elsewhere, and where the blocks are few, one. The first is worked on alone, so
    that what is kept from block to block is there for all; by as few threads as the others, as its numbers would differ
    from theirs in the last bit. An error ends the others too.
    """
    num_threads = torch.get_num_threads()
    at_once = min(num_threads, MOST_AT_ONCE) if device.type == "cpu" else 1
    if at_once == 1 or len(blocks) < 2 * at_once:
        with torch.no_grad(), compute_in(precision, device):
            for block in blocks:
                done(block, work(block))
        return

    def begin() -> None:
        """These are a thread's own settings, for as long as it lives."""
        torch.set_num_threads(num_threads // at_once)
        torch.set_grad_enabled(False)
        compute_in(precision, device).__enter__()

    waiting: deque[tuple[Block, Future[Result]]] = deque()

    def take_first() -> None:
        block, future = waiting.popleft()
        done(block, future.result())

    pool = ThreadPoolExecutor(at_once, thread_name_prefix="pairs", initializer=begin)
    try:
        for number, block in enumerate(blocks):
            waiting.append((block, pool.submit(work, block)))
            if number == 0 or len(waiting) > 2 * at_once:
                take_first()
        while waiting:
            take_first()
    finally:
        try:
            pool.shutdown(cancel_futures=True)
        finally:
            torch.set_num_threads(num_threads)  # of threads that begin from now on
