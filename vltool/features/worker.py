"""A process that describes pictures, started by `workers.py`: `main(DESCRIPTOR)`.

It reads a Setup and then Jobs from the connection, and answers each with an Outcome, or a traceback. It ends when
the connection does, however the other side ended.
"""

from __future__ import annotations

import signal
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from vltool.detectors.detector import Detector
from vltool.detectors.selection import Recipe
from vltool.errors import VltoolError
from vltool.features.describe import Job, Outcome, describe


@dataclass(frozen=True)
class Setup:
    """What a worker needs before its first job."""

    detector: Detector
    fingerprint: str  # of the detector that the parent has
    recipe: Recipe
    header: dict[str, Any]
    num_workers: int = 1
    num_threads: int = 1  # of each
    batch_size: int = 1  # pictures of one size that go through the network together


@dataclass(frozen=True)
class Bug:
    """An exception that is nobody's fault but ours."""

    traceback: str


def answer(job: Job, setup: Setup) -> Outcome:
    """The outcome of a job; what a user can mend becomes its error."""
    try:
        return describe(job, detector=setup.detector, recipe=setup.recipe, header=setup.header)
    except VltoolError as error:
        return Outcome(job.number, error=str(error))


def serve(connection: Connection) -> None:
    """Answers jobs until the connection ends."""
    import torch

    setup = connection.recv()
    torch.set_num_threads(setup.num_threads)
    if setup.detector.fingerprint != setup.fingerprint:
        raise RuntimeError("the detector's files have changed since the extraction began")
    while True:
        connection.send(answer(connection.recv(), setup))


def main(descriptor: int) -> None:
    """Serves on the connection behind a file descriptor."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends the connection
    with Connection(descriptor) as connection:
        try:
            serve(connection)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            return
        except Exception:  # noqa: BLE001 - it goes to the parent, which raises it
            connection.send(Bug(traceback.format_exc()))
