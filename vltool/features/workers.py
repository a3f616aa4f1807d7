"""Pictures described by several processes, the outcomes in the order of the pictures.

Processes rather than threads, one thread each: networks this size, decoding and hashing leave no core idle then.
A process that dies, by the memory guard or a decoder's crash, fails its picture and is replaced; a bug is raised.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait

from vltool.errors import DataError
from vltool.features.describe import Job, Outcome
from vltool.features.worker import Bug, Setup

JOBS_AHEAD = 2  # per worker: one at work, one waiting
LONGEST_QUEUE = 64  # outcomes that wait for a slow picture before them
DEATHS_IN_A_ROW = 3


class Worker:
    """One process and the jobs it was given."""

    def __init__(self, setup: Setup) -> None:
        self.connection, other = Pipe()
        search_path = os.pathsep.join(path for path in sys.path if path)
        self.process = subprocess.Popen(
            [sys.executable, "-c", f"from vltool.features.worker import main; main({other.fileno()})"],
            pass_fds=[other.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # the parent's stdout carries results
            env={**os.environ, "PYTHONPATH": search_path},
        )
        other.close()
        self.jobs: deque[Job] = deque()
        self.connection.send(setup)

    def give(self, job: Job) -> None:
        self.jobs.append(job)
        self.connection.send(job)

    def take(self) -> Outcome | Bug | None:
        """The next answer; None if the process has died."""
        try:
            answer = self.connection.recv()
        except (EOFError, ConnectionResetError):
            return None
        if isinstance(answer, Outcome):
            self.jobs.popleft()
        return answer

    def cause_of_death(self) -> str:
        code = self.process.wait()
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"

    def stop(self) -> None:
        self.connection.close()
        self.process.terminate()
        self.process.wait()


def describe_in_parallel(jobs: Sequence[Job], setup: Setup) -> Iterator[Outcome]:
    """The outcomes of jobs, in their order. Raises RuntimeError with the traceback of a bug in a worker."""
    waiting = deque(jobs)
    done: dict[int, Outcome] = {}
    order = deque(job.number for job in jobs)
    workers = [Worker(setup) for _ in range(min(setup.num_workers, len(jobs)))]
    num_deaths = 0
    try:
        while order:
            for worker in workers:
                hand_out(waiting, worker, num_ahead=len(done), next_number=order[0])
            busy: dict[Connection, Worker] = {worker.connection: worker for worker in workers if worker.jobs}
            for connection in wait(list(busy)):
                worker = busy[connection]  # type: ignore[index]
                answer = worker.take()
                if isinstance(answer, Bug):
                    raise RuntimeError(f"a worker failed at {worker.jobs[0].path}:\n{answer.traceback}")
                if answer is None:
                    num_deaths += 1
                    answer = bury(worker, waiting, num_deaths)
                    workers.remove(worker)
                    if waiting:
                        workers.append(Worker(setup))
                else:
                    num_deaths = 0
                done[answer.number] = answer
            while order and order[0] in done:
                yield done.pop(order.popleft())
    finally:
        for worker in workers:
            worker.stop()


def hand_out(waiting: deque[Job], worker: Worker, *, num_ahead: int, next_number: int) -> None:
    """Gives a worker its next jobs, unless too many outcomes wait for a slow picture (`next_number`) already."""
    while waiting and len(worker.jobs) < JOBS_AHEAD:
        if num_ahead >= LONGEST_QUEUE and waiting[0].number != next_number:
            return
        try:
            worker.give(waiting.popleft())
        except (BrokenPipeError, ConnectionResetError):  # it has died; the next wait finds out
            return


def bury(worker: Worker, waiting: deque[Job], num_deaths: int) -> Outcome:
    """The failed outcome of the picture a dead worker was at; its other jobs wait again."""
    cause = worker.cause_of_death()
    worker.connection.close()
    lost = worker.jobs.popleft()
    if num_deaths >= DEATHS_IN_A_ROW:
        raise DataError(
            f"{num_deaths} worker processes in a row died, the last one {cause} at {lost.path}. If memory is short, "
            "use fewer --workers. Run the command again to go on from here"
        )
    waiting.extendleft(reversed(worker.jobs))
    return Outcome(lost.number, error=f"{lost.path}: the worker process was {cause} while at it (memory?)")
