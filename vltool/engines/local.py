"""Jobs in processes of this machine, its processor threads and GPUs divided evenly among them."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from typing import Any

from vltool.engines.engine import Done, JobT, LostJob, ResultT


def num_cores() -> int:
    """The processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class LocalEngine:
    """`num_jobs` processes (0: one a GPU, or one a core), each with its share of the cores and of `num_gpus` GPUs."""

    def __init__(self, num_jobs: int = 0, *, num_gpus: int = 0):
        self.num_jobs = num_jobs or num_gpus or num_cores()
        self.num_gpus = num_gpus

    @property
    def num_threads(self) -> int:
        """Threads of a job when all places are taken."""
        return max(1, num_cores() // self.num_jobs)

    def run(
        self, function: Callable[[JobT], ResultT], jobs: Sequence[JobT] | deque[JobT]
    ) -> Iterator[Done[JobT, ResultT]]:
        """Results as they come; an error of a job is given with it.

        A process that dies takes the others with it: their jobs are run again one at a time, and the one whose
        process dies again alone is given with a LostJob.
        """
        waiting = jobs if isinstance(jobs, deque) else deque(jobs)
        places = self.num_jobs if isinstance(jobs, deque) else max(1, min(self.num_jobs, len(jobs)))
        suspects: deque[JobT] = deque()
        while waiting or suspects:
            with _Pool(places, self.num_gpus) as pool:
                yield from _run_in(pool, function, waiting, suspects)


def _run_in(
    pool: _Pool, function: Callable[[JobT], ResultT], waiting: deque[JobT], suspects: deque[JobT]
) -> Iterator[Done[JobT, ResultT]]:
    """Results until nothing waits and nothing runs, or a process dies: then whoever ran is suspect, or alone guilty."""
    running: dict[Future[ResultT], JobT] = {}
    while waiting or suspects or running:
        if suspects:
            if not running:
                job = suspects.popleft()
                running[pool.submit(function, job)] = job
        else:
            while waiting and len(running) < pool.places:
                job = waiting.popleft()
                running[pool.submit(function, job)] = job
        ended, _ = wait(running, return_when=FIRST_COMPLETED)
        died = [future for future in running if future.done() and isinstance(future.exception(), BrokenProcessPool)]
        for future in ended - set(died):
            error = future.exception()
            yield Done(running.pop(future), None if error else future.result(), error)
        if died and len(running) == 1:
            yield Done(running.popitem()[1], None, LostJob(DIED))
        if died:
            suspects.extendleft(reversed(running.values()))
            return


DIED = (
    "the process that ran it died without a word, which is most often the system's answer to too little memory. "
    "Run the command again with fewer jobs at once: it goes on where it stopped"
)


class _Pool:
    """Worker processes that end with this block, whatever they are doing."""

    def __init__(self, places: int, num_gpus: int):
        self.places = places
        # forked processes would share the parent's torch threads
        context = multiprocessing.get_context("spawn")
        reader, self._writer = context.Pipe(duplex=False)
        shares = context.SimpleQueue() if num_gpus else None
        for share in device_shares(places, num_gpus):
            assert shares is not None
            shares.put(share)
        threads = max(1, num_cores() // places)
        self._executor = ProcessPoolExecutor(
            places, mp_context=context, initializer=start_worker, initargs=(threads, reader, shares)
        )

    def submit(self, function: Callable[[JobT], ResultT], job: JobT) -> Future[ResultT]:
        try:
            return self._executor.submit(function, job)
        except BrokenProcessPool as error:  # a worker died before this one began
            future: Future[ResultT] = Future()
            future.set_exception(error)
            return future

    def __enter__(self) -> _Pool:
        return self

    def __exit__(self, *error: object) -> None:
        self._writer.close()  # workers wait for that
        self._executor.shutdown(wait=False, cancel_futures=True)


def device_shares(places: int, num_gpus: int) -> list[tuple[int, float]]:
    """(GPU, share of its memory) of every place; the places go round the GPUs. None without GPUs."""
    if not num_gpus:
        return []
    on_gpu = [place % num_gpus for place in range(places)]
    return [(gpu, 1 / on_gpu.count(gpu)) for gpu in on_gpu]


def start_worker(num_threads: int, stop: Connection | None = None, shares: Any = None) -> None:
    """Let this process use `num_threads` threads and its share of a GPU, and end with the process that started it.

    A parent that is killed cannot tell its workers; one that went on would write into the folders of the next run.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its workers
    parent = multiprocessing.parent_process()
    ends: list[Any] = [found for found in (parent and parent.sentinel, stop) if found is not None]
    if ends:
        threading.Thread(target=_end_with, args=(ends,), daemon=True).start()
    if shares is not None:
        gpu, share = shares.get()
        visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
        os.environ["CUDA_VISIBLE_DEVICES"] = visible[gpu] if visible else str(gpu)
    import torch

    from vltool.processor import keep_freed_memory

    keep_freed_memory()
    torch.set_num_threads(num_threads)
    if shares is not None:
        torch.cuda.set_per_process_memory_fraction(share)


def _end_with(ends: list[Any]) -> None:
    multiprocessing.connection.wait(ends)
    os._exit(1)
