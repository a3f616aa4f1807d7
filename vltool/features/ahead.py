"""Pictures described in this process: threads read and decode the next ones while the network is at work.

Pictures of one size go through the network together, up to the batch size; the others one by one, so that none is
padded and the numbers of a picture do not depend on its neighbours.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

from vltool.errors import VltoolError
from vltool.features.describe import Job, Opened, Outcome, describe_together, open_picture
from vltool.features.worker import Setup

MOST_DECODERS = 8
BATCHES_AT_HAND = 4  # among how many batches' worth of pictures those of one size are looked for


def describe_ahead(jobs: Sequence[Job], setup: Setup) -> Iterator[Outcome]:
    """The outcomes of jobs, in their order."""
    at_hand = setup.batch_size * (BATCHES_AT_HAND if setup.batch_size > 1 else 1)
    upcoming = iter(jobs)
    with ThreadPoolExecutor(min(MOST_DECODERS, max(1, (os.cpu_count() or 2) - 1))) as pool:
        windows: deque[list[tuple[Job, Future[Opened]]]] = deque()
        try:
            while True:
                while len(windows) < 2 and (taken := list(islice(upcoming, at_hand))):
                    windows.append([(job, pool.submit(open_picture, job)) for job in taken])
                if not windows:
                    return
                yield from describe_window(windows.popleft(), setup)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def describe_window(window: list[tuple[Job, Future[Opened]]], setup: Setup) -> list[Outcome]:
    """The outcomes of some jobs, in their order."""
    outcomes: dict[int, Outcome] = {}
    by_size: dict[tuple[int, int], list[Opened]] = {}
    for job, future in window:
        try:
            opened = future.result()
            by_size.setdefault(opened.size, []).append(opened)
        except VltoolError as error:
            outcomes[job.number] = Outcome(job.number, error=str(error))
    for group in by_size.values():
        for start in range(0, len(group), setup.batch_size):
            for outcome in describe_or_say_why(group[start : start + setup.batch_size], setup):
                outcomes[outcome.number] = outcome
    return [outcomes[job.number] for job, _ in window]


def describe_or_say_why(opened: list[Opened], setup: Setup) -> list[Outcome]:
    """The outcomes of pictures of one size; where they fail together, each is tried alone."""
    try:
        return describe_together(opened, detector=setup.detector, recipe=setup.recipe, header=setup.header)
    except VltoolError as error:
        if len(opened) == 1:
            return [Outcome(opened[0].job.number, error=str(error))]
        return [outcome for picture in opened for outcome in describe_or_say_why([picture], setup)]
