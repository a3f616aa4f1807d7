"""The batches of a task, forever: shuffled passes over its examples, each batch a function of its number alone.

Because batch k depends on (seed, task, k) and nothing else, a resumed training sees the same batches, and a
thread may build the next ones while the network is busy.

A pass takes the pictures in windows, and mixes the examples within a window: a store that is larger than the machine's
memory is read once a pass, however many examples a picture has. Within a few batches' worth of examples, those of like
length come together, so that little of a batch is padding; the batches then come in any order.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from vltool.engines.processes import ALONE, Processes
from vltool.errors import ConfigError, DataError
from vltool.structures import Batch, Example
from vltool.tasks.batching import Batching
from vltool.tasks.task import Task

PREFETCHED = 3
WINDOW_PICTURES = 8192  # 1.2 GB of 36 x 2048 features in half precision
BATCHES_SORTED = 16


def check_batch_size(task: str, batch_size: int, num_examples: int, *, where: str = "the plan") -> None:
    """Raises DataError for a task without training examples, ConfigError for a batch that they do not fill.

    where: what asks for the batch: the file of the plan, or a key of the configuration.
    """
    if not num_examples:
        raise DataError(f"tasks.{task}: no training example is left. See the counts of each source above")
    if batch_size > num_examples:
        raise ConfigError(
            f"{where}: batch_size (task {task}) holds {batch_size}; legal is 1 to {num_examples}, the task's training "
            f"examples. Lower it, or name more sources in tasks.{task}.train"
        )


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
        window_pictures: int = WINDOW_PICTURES,
        batches_sorted: int = BATCHES_SORTED,
        processes: Processes = ALONE,
    ):
        """window_pictures: pictures whose examples are mixed. batches_sorted: batches' worth of examples that are
        sorted by length, at most a quarter of a pass, or every pass would have much the same batches; 1 sorts nothing.
        processes: those that share each batch; the features of the others' examples are not read.
        """
        check_batch_size(task.name, batch_size, len(examples))
        self.task, self.examples, self.batching = task, examples, batching
        task.prepare_training(examples, batching.regions)
        self.batch_size = batch_size
        self.window_pictures = window_pictures
        self.batches_sorted = max(1, min(batches_sorted, len(examples) // self.batch_size // 4))
        self.key = (seed, zlib.crc32(task.name.encode()))
        self.pool, self.processes = pool, processes
        self.waited = 0.0
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0))
        self._sorted: tuple[tuple[int, int], list[np.ndarray]] = ((-1, -1), [])
        self._number = start
        self._coming: list[Future[Batch]] = []

    def __next__(self) -> Batch:
        while len(self._coming) < PREFETCHED:
            self._coming.append(self.pool.submit(self.build, self._number))
            self._number += 1
        started = time.perf_counter()
        batch = self._coming.pop(0).result()
        self.waited += time.perf_counter() - started
        return batch

    def build(self, number: int) -> Batch:
        """Batch `number`, with its own generator for in-batch negatives."""
        own = self.processes.share_of(self.batch_size) if self.processes.size > 1 else None
        return self.batching.training_batch(self.task, self.choose(number), self._generator(1, number), own=own)

    def choose(self, number: int) -> list[Example]:
        """The examples of batch `number`; a pass drops what does not fill a batch."""
        per_pass = len(self.examples) // self.batch_size
        epoch, place = divmod(number, per_pass)
        group, place = divmod(place, self.batches_sorted)
        if self._sorted[0] != (epoch, group):
            self._sorted = ((epoch, group), self._batches_of(epoch, group, per_pass))
        return [self.examples[k] for k in self._sorted[1][place]]

    def _batches_of(self, epoch: int, group: int, per_pass: int) -> list[np.ndarray]:
        """The batches of a group, each the numbers of its examples."""
        if self._order[0] != epoch:
            self._order = (epoch, self._order_of(epoch))
        first = group * self.batches_sorted
        num_batches = min(self.batches_sorted, per_pass - first)
        chosen = self._order[1][first * self.batch_size :][: num_batches * self.batch_size]
        if num_batches > 1:
            lengths = self.batching.lengths([self.examples[k] for k in chosen])
            chosen = chosen[np.argsort(lengths, kind="stable")]
        batches = chosen.reshape(num_batches, self.batch_size)
        return list(batches[self._generator(2, epoch, group).permutation(num_batches)])

    def _order_of(self, epoch: int) -> np.ndarray:
        """The numbers of all examples in the order of a pass."""
        generator = self._generator(0, epoch)
        image_of = [example.image_ids[0] for example in self.examples]
        pictures = dict.fromkeys(image_of)
        if len(pictures) <= self.window_pictures:
            return generator.permutation(len(self.examples))
        place = dict(zip(pictures, generator.permutation(len(pictures)).tolist(), strict=True))
        window = np.array([place[image_id] for image_id in image_of]) // self.window_pictures
        shuffled = generator.permutation(len(self.examples))
        return shuffled[np.argsort(window[shuffled], kind="stable")]

    def _generator(self, *purpose: int) -> np.random.Generator:
        return np.random.default_rng((*self.key, *purpose))
