"""How a list of independent jobs is run: the protocol that every engine keeps."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from vltool.errors import VltoolError

JobT = TypeVar("JobT")
ResultT = TypeVar("ResultT")


class LostJob(VltoolError):
    """The process or machine that ran a job is gone, each time that it was tried."""


@dataclass(frozen=True)
class Done(Generic[JobT, ResultT]):
    """A job that has ended: its result, or the error that stopped it."""

    job: JobT
    result: ResultT | None
    error: BaseException | None


class Engine(Protocol):
    """Runs jobs that know nothing of each other; each ends in a result or an error, in any order.

    Jobs in a deque are taken from it one by one as places become free: whoever reads the results may add to it or
    empty it meanwhile. The iterator ends when nothing waits and nothing runs.
    """

    def run(
        self, function: Callable[[JobT], ResultT], jobs: Sequence[JobT] | deque[JobT]
    ) -> Iterator[Done[JobT, ResultT]]: ...
