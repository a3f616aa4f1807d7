"""Jobs in processes of this machine, its processor threads divided evenly among them."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool

from vltool.engines.engine import Done, JobT, ResultT
from vltool.errors import VltoolError


def num_cores() -> int:
    """The processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class LocalEngine:
    """`num_jobs` processes (0: one a core), each with its share of the cores."""

    def __init__(self, num_jobs: int = 0):
        self.num_jobs = num_jobs or num_cores()

    def run(self, function: Callable[[JobT], ResultT], jobs: Sequence[JobT]) -> Iterator[Done[JobT, ResultT]]:
        """Results as they come. An error of a job is given with it; a process that dies is a VltoolError.

        Ctrl-C, or not asking for further results, ends the jobs under way.
        """
        if not jobs:
            return
        workers = min(self.num_jobs, len(jobs))
        threads = max(1, num_cores() // workers)
        context = multiprocessing.get_context("spawn")  # forked processes would share the parent's torch threads
        others = set(multiprocessing.active_children())
        with ProcessPoolExecutor(workers, mp_context=context, initializer=start_worker, initargs=(threads,)) as pool:
            waiting = {pool.submit(function, job): job for job in jobs}
            try:
                for future in as_completed(waiting):
                    error = future.exception()
                    if isinstance(error, BrokenProcessPool):
                        raise VltoolError(
                            "a worker process died without a word, which is most often the system's answer to too "
                            "little memory. Run the command again: it goes on where it stopped; fewer jobs at once help"
                        ) from error
                    yield Done(waiting[future], None if error else future.result(), error)
            except (
                KeyboardInterrupt,
                GeneratorExit,
            ):  # jobs go on from what they saved; waiting for their end could take hours
                for process in set(multiprocessing.active_children()) - others:
                    process.terminate()
                raise
            finally:
                for future in waiting:
                    future.cancel()


def start_worker(num_threads: int) -> None:
    """Let this process use `num_threads` threads for its arithmetic, and end with the process that started it.

    A parent that is killed cannot tell its workers; one that went on would write into the folders of the next run.
    """
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its workers
    torch.set_num_threads(num_threads)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)
