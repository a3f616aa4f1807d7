"""Jobs for the tests of engines: in a module of their own, so that a process can import them."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from vltool.errors import DataError


def square(number: int) -> int:
    if number == 3:
        raise DataError("three")
    return number * number


def report_pid_and_wait(path: str) -> None:
    Path(path).write_text(str(os.getpid()))
    time.sleep(60)


def die_at_two(number: int) -> int:
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.2)
    return number


def threads(_: int) -> int:
    import torch

    return torch.get_num_threads()
