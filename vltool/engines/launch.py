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
from collections.abc import Iterator, Sequence
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
    port = _free_port()
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
        return _ended([process.returncode for process in processes], texts)


def _start(
    command: Sequence[str], rank: int, size: int, port: int, watched: int, stderr: IO[Any] | None
) -> subprocess.Popen[bytes]:
    variables = {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(1, num_cores() // size))),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        LAUNCHED: str(watched),
    }
    return subprocess.Popen(
        list(command),
        env={**os.environ, **variables},
        pass_fds=[watched],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL if rank else None,
        stderr=stderr,
        start_new_session=True,  # a terminal's Ctrl-C comes through this process, once
    )


def _wait(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    deadline = float("inf")
    while any(process.poll() is None for process in processes):
        if deadline == float("inf") and any(_failed(process.returncode) for process in processes):
            deadline = time.monotonic() + SECONDS_TO_LEAVE
        if time.monotonic() > deadline:
            for process in processes:
                process.kill()
        time.sleep(0.05)


def _failed(code: int | None) -> bool:
    return code not in (None, 0, INTERRUPTED)


def _ended(codes: Sequence[int], texts: Sequence[IO[Any]]) -> Ended:
    failed = [rank for rank, code in enumerate(codes) if _failed(code) and code not in (LOST, -signal.SIGKILL)]
    failed = failed or [rank for rank, code in enumerate(codes) if _failed(code) and code != LOST]
    if not failed:
        return Ended(next((code for code in codes if code), 0))
    if codes[0] > 0 and codes[0] != LOST:
        return Ended(codes[0])  # process 0 has said why
    rank, code = failed[0], codes[failed[0]]
    texts[rank].seek(0)
    text = texts[rank].read().decode(errors="replace").strip()[-LONGEST_TEXT:]
    if code > 0:
        return Ended(code, f"process {rank} of {len(codes)} ended with code {code}:\n{text}")
    return Ended(
        2,
        f"process {rank} of {len(codes)} was killed by {signal.Signals(-code).name} (out of memory?), and the others "
        "were ended. The last checkpoint is kept: run the same command again to go on from it"
        + (f". Its last words:\n{text}" if text else ""),
    )


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


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
