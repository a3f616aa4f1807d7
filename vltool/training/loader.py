"""The batches of a task, forever: shuffled passes over its examples, each batch a function of its number alone.

Because batch k depends on (seed, task, k) and nothing else, a resumed training sees the same batches, and a
thread may build the next ones while the network is busy.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from vltool.errors import DataError
from vltool.structures import Batch, Example
from vltool.tasks.batching import Batching
from vltool.tasks.task import Task

PREFETCHED = 3


class TaskBatches(Iterator[Batch]):
    """Training batches of one task. start: number of the first batch (the updates already done).

    `waited` counts the seconds that `next` had to wait for data.
    """

    def __init__(
        self,
        task: Task[Any],
        examples: Sequence[Example],
        batching: Batching,
        *,
        batch_size: int,
        seed: int,
        start: int = 0,
        pool: ThreadPoolExecutor,
    ):
        if not examples:
            raise DataError(f"tasks.{task.name}: no training example is left. See the counts of each source above")
        self.task, self.examples, self.batching = task, examples, batching
        self.batch_size = min(batch_size, len(examples))
        self.key = (seed, zlib.crc32(task.name.encode()))
        self.pool = pool
        self.waited = 0.0
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0))
        self._number = start
        self._coming: list[Future[Batch]] = []

    def __next__(self) -> Batch:
        while len(self._coming) < PREFETCHED:
            self._coming.append(self.pool.submit(self.build, self._number, self.choose(self._number)))
            self._number += 1
        started = time.perf_counter()
        batch = self._coming.pop(0).result()
        self.waited += time.perf_counter() - started
        return batch

    def choose(self, number: int) -> list[Example]:
        """The examples of batch `number`; a pass drops what does not fill a batch."""
        per_pass = len(self.examples) // self.batch_size
        epoch, place = divmod(number, per_pass)
        if self._order[0] != epoch:
            self._order = (epoch, np.random.default_rng((*self.key, 0, epoch)).permutation(len(self.examples)))
        return [self.examples[k] for k in self._order[1][place * self.batch_size :][: self.batch_size]]

    def build(self, number: int, examples: Sequence[Example]) -> Batch:
        """Batch `number` of these examples, with its own generator for in-batch negatives."""
        batch, _ = self.batching.batch(self.task, examples, generator=np.random.default_rng((*self.key, 1, number)))
        return batch
