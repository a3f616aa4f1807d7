"""Starts a command several times as processes that work together, and ends them all when one of them dies.

What `torchrun --nproc-per-node=N` does on one machine, with signals passed on and the cause of a death told once.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import IO, Any

from vltool.engines.local import num_cores
from vltool.engines.processes import LAUNCHED, LOST

SECONDS_TO_LEAVE = 10.0
"""How long the others may take to end by themselves after one has died."""

INTERRUPTED = 130
LONGEST_TEXT = 4000


@dataclass(frozen=True)
class Ended:
    """How the processes ended. message: of a process that could not speak for itself, or empty."""

    code: int
    message: str = ""


def launch(command: Sequence[str], num_processes: int) -> Ended:
    """Run `command` in `num_processes` processes until all have ended.

    Process 0 has this one's stdout and stderr, the others are silent. SIGINT and SIGTERM are passed on. They end
    when this process dies, however it dies.
    """
    watched, held = os.pipe()
    port = free_port()
    with ExitStack() as open_files:
        for descriptor in (watched, held):
            open_files.callback(os.close, descriptor)
        texts = [open_files.enter_context(tempfile.TemporaryFile()) for _ in range(num_processes)]
        processes = [
            _start(command, rank, num_processes, port, watched, texts[rank] if rank else None)
            for rank in range(num_processes)
        ]
        with _passing_signals_to(processes):
            _wait(processes)
        return ended_with([process.returncode for process in processes], lambda rank: _last_words(texts[rank]))


def _start(
    command: Sequence[str], rank: int, size: int, port: int, watched: int, stderr: IO[Any] | None
) -> subprocess.Popen[bytes]:
    variables = variables_of(rank, size, master=("127.0.0.1", port), num_threads=threads_of(size))
    return subprocess.Popen(
        list(command),
        env={**os.environ, **variables, LAUNCHED: str(watched)},
        pass_fds=[watched],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL if rank else None,
        stderr=stderr,
        start_new_session=True,  # a terminal's Ctrl-C comes through this process, once
    )


def threads_of(size: int) -> int:
    """Threads of each of `size` processes on this machine: those of OMP_NUM_THREADS, or a share of the cores."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdigit() and int(given) else max(1, num_cores() // size)


def variables_of(
    rank: int, size: int, *, master: tuple[str, int], num_threads: int, local_rank: int | None = None
) -> dict[str, str]:
    """What a process that works with others finds in its environment, as torchrun sets it, and where its code is.

    master: address and port where process 0 listens. local_rank: its number on its machine, and of its GPU there.
    """
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank if local_rank is None else local_rank),
        "WORLD_SIZE": str(size),
        "MASTER_ADDR": master[0],
        "MASTER_PORT": str(master[1]),
        "OMP_NUM_THREADS": str(num_threads),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }


def _wait(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    deadline = float("inf")
    while any(process.poll() is None for process in processes):
        if deadline == float("inf") and any(has_failed(process.returncode) for process in processes):
            deadline = time.monotonic() + SECONDS_TO_LEAVE
        if time.monotonic() > deadline:
            for process in processes:
                process.kill()
        time.sleep(0.05)


def has_failed(code: int | None) -> bool:
    """Whether a process has ended, and neither as it should nor because it was asked to."""
    return code not in (None, 0, INTERRUPTED)


def ended_with(codes: Sequence[int], last_words: Callable[[int], str]) -> Ended:
    """How processes with these exit codes have ended together. last_words(rank): the end of its stderr."""
    failed = [rank for rank, code in enumerate(codes) if has_failed(code) and code not in (LOST, -signal.SIGKILL)]
    failed = failed or [rank for rank, code in enumerate(codes) if has_failed(code) and code != LOST]
    if not failed:
        return Ended(next((code for code in codes if code), 0))
    if codes[0] > 0 and codes[0] != LOST:
        return Ended(codes[0])  # process 0 has said why
    rank, code = failed[0], codes[failed[0]]
    text = last_words(rank)
    if code > 0:
        return Ended(code, f"process {rank} of {len(codes)} ended with code {code}:\n{text}")
    return Ended(
        2,
        f"process {rank} of {len(codes)} was killed by {signal.Signals(-code).name} (out of memory?), and the others "
        "were ended. The last checkpoint is kept: run the same command again to go on from it"
        + (f". Its last words:\n{text}" if text else ""),
    )


def _last_words(file: IO[Any]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace").strip()[-LONGEST_TEXT:]


@contextmanager
def _passing_signals_to(processes: Sequence[subprocess.Popen[bytes]]) -> Iterator[None]:
    def pass_on(number: int, frame: object) -> None:
        for process in processes:
            if process.poll() is None:
                process.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def free_port(address: str = "127.0.0.1") -> int:
    """A port of this machine on which nobody listens just now."""
    with socket.socket() as found:
        found.bind((address, 0))
        return int(found.getsockname()[1])
