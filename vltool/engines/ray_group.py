"""Processes that work together, each in a place of a Ray cluster: what `launch.py` does on one machine.

Every process is the command itself, with the variables that torchrun sets, so whatever runs in it knows nothing of
Ray. An actor of Ray on its node holds it: the process ends with the actor, and the actor with its node. When a process
or a node is lost, all are ended and started again where there is room; they go on from what they have saved.
"""

from __future__ import annotations

import codecs
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from vltool.engines.launch import (
    INTERRUPTED,
    LONGEST_TEXT,
    SECONDS_TO_LEAVE,
    Ended,
    ended_with,
    free_port,
    has_failed,
    threads_of,
    variables_of,
)
from vltool.engines.processes import LAUNCHED, LOST
from vltool.engines.ray import address_of_this_node, cluster
from vltool.errors import VltoolError

RESTARTS = 3
LONG_ENOUGH_S = 600.0
"""A group that was lost after so long counts as the first one again: machines may come and go for weeks."""

ROOM_S = 600.0
"""How long to wait for room in the cluster when a node is lost."""

SECONDS_BETWEEN_LOOKS = 0.2
GONE = -signal.SIGKILL  # the code of a process whose actor is not there any more

Say = Callable[[str], None]


@dataclass(frozen=True)
class Seen:
    """What a process has said since it was last looked at. code: None while it runs. stderr: all of a silent one's."""

    code: int | None
    stdout: bytes
    stderr: bytes


class Member:
    """One process, held by an actor of Ray on the node where it runs."""

    def __init__(self) -> None:
        self.watched, self._held = os.pipe()  # `_held` closes when this process dies, and so ends the one below
        self.stdout, self.stderr = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 - as long as self
        self.said = [0, 0]
        self.process: subprocess.Popen[bytes] | None = None

    def place(self) -> tuple[str, int]:
        """Where process 0 can listen, if this is its node: address and port."""
        address = address_of_this_node()
        return address, free_port(address)

    def start(self, arguments: Sequence[str], variables: dict[str, str], folder: str) -> None:
        """Run `python ARGUMENTS` in `folder`, which is where the command was given."""
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            env={**os.environ, **variables, LAUNCHED: str(self.watched)},
            pass_fds=[self.watched],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=self.stdout,
            stderr=self.stderr,
            start_new_session=True,
        )

    def look(self) -> Seen:
        """Whether the process runs, and what it has said since the last look."""
        code = self.process.poll() if self.process else LOST  # it was not started, as another one was lost before
        texts = []
        for number, file in enumerate((self.stdout, self.stderr)):
            text = os.pread(file.fileno(), 1 << 20, self.said[number])
            self.said[number] += len(text)
            texts.append(text)
        return Seen(None if any(texts) else code, *texts)  # it is not over until all that it said is heard

    def send(self, number: int) -> None:
        """Send the process a signal."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(number)


@dataclass
class _Watch:
    """What is known of the processes of a group. asked: the look that a member has not answered yet."""

    codes: list[int | None]
    last_words: list[bytes]
    asked: dict[Any, int] = field(default_factory=dict)
    decoders: list[Any] = field(
        default_factory=lambda: [codecs.getincrementaldecoder("utf-8")("replace") for _ in "oe"]
    )


def launch_on_ray(
    arguments: Sequence[str], num_processes: int, *, address: str = "", gpus_each: float = 0.0, say: Say
) -> Ended:
    """Run `python ARGUMENTS` in `num_processes` places of a Ray cluster until all have ended.

    address: as `ray status` names it; without one a cluster is started here for the time. Process 0 has this one's
    stdout and stderr, the others are silent. The first SIGINT or SIGTERM is passed on as SIGTERM, the second ends them.
    Each process has OMP_NUM_THREADS cores; by default one on a running cluster, its share of those of a local one.
    """
    num_threads = 1 if address and not os.environ.get("OMP_NUM_THREADS") else threads_of(num_processes)
    num_lost = 0
    with cluster(address, num_cpus=num_processes * num_threads) as ray, _noting_signals() as signals:
        _check_room(ray, num_processes, num_threads, gpus_each)
        while True:
            started = time.monotonic()
            needs = {"CPU": num_threads, **({"GPU": gpus_each} if gpus_each else {})}
            with _places(ray, [needs] * num_processes, signals, say) as group:
                if group is None:
                    return Ended(INTERRUPTED, f"interrupted while waiting for room. {AGAIN}")
                members = _start(ray, group, arguments, needs)
                watch = _wait(ray, members, signals)
            if len(signals) > 1:
                return Ended(INTERRUPTED, f"interrupted. {AGAIN}")
            codes = [GONE if code is None else code for code in watch.codes]
            if not _is_lost(codes) or signals:
                return ended_with(codes, [_text(words) for words in watch.last_words].__getitem__)
            num_lost = 1 if time.monotonic() - started > LONG_ENOUGH_S else num_lost + 1
            rank = next((rank for rank, code in enumerate(codes) if code == GONE), 0)
            if num_lost > RESTARTS:
                return Ended(2, f"a process was lost {num_lost} times, the last one process {rank} (memory?). {AGAIN}")
            say(
                f"process {rank} of {num_processes} or its node is lost: all are started again from the last checkpoint"
            )


AGAIN = "What was saved is kept: run the same command again to go on from it"


def _is_lost(codes: Sequence[int]) -> bool:
    """Whether processes have ended because one of them, or its node, is gone, and for no reason of their own."""
    return any(has_failed(code) for code in codes) and all(
        not has_failed(code) or code in (GONE, LOST) for code in codes
    )


def _check_room(ray: Any, num_processes: int, num_threads: int, gpus_each: float) -> None:
    there = ray.cluster_resources()
    if there.get("CPU", 0) < num_processes * num_threads or there.get("GPU", 0) < num_processes * gpus_each:
        raise VltoolError(
            f"the Ray cluster has {there.get('CPU', 0):g} cores and {there.get('GPU', 0):g} GPUs; {num_processes} "
            f"processes need {num_processes * num_threads} and {num_processes * gpus_each:g}. Use fewer --processes, "
            "or give each fewer cores (OMP_NUM_THREADS)"
        )


@contextmanager
def _places(ray: Any, needs: Sequence[dict[str, float]], signals: list[int], say: Say) -> Iterator[Any]:
    """A placement group with room for all, close together where there is a choice; None if a signal comes before.

    Raises VltoolError if there is none for ten minutes.
    """
    group = ray.util.placement_group([dict(need) for need in needs], strategy="PACK")
    try:
        started, told = time.monotonic(), False
        while not group.wait(1):
            if signals:
                yield None
                return
            if not told and time.monotonic() - started > 5:
                told = True
                say(
                    f"waiting for room for {len(needs)} processes in the Ray cluster, {ROOM_S / 60:.0f} minutes at most"
                )
            if time.monotonic() - started > ROOM_S:
                raise VltoolError(
                    f"the Ray cluster has had no room for {len(needs)} processes for {ROOM_S / 60:.0f} minutes. {AGAIN}"
                )
        yield group
    finally:
        ray.util.remove_placement_group(group)  # ends the actors in it, and with them the processes


def _start(ray: Any, group: Any, arguments: Sequence[str], needs: dict[str, float]) -> list[Any]:
    """The actors of a group, their processes started. One that is lost meanwhile shows when it is looked at."""
    strategies = ray.util.scheduling_strategies
    options = {"num_cpus": needs["CPU"], "num_gpus": needs.get("GPU", 0)}
    size = group.bundle_count
    members = [
        ray.remote(**options)(Member)
        .options(scheduling_strategy=strategies.PlacementGroupSchedulingStrategy(group, rank))
        .remote()
        for rank in range(size)
    ]
    try:
        master = ray.get(members[0].place.remote())
    except ray.exceptions.RayError:
        return members
    for rank, member in enumerate(members):
        variables = variables_of(rank, size, master=master, num_threads=int(needs["CPU"]), local_rank=0)
        started = member.start.remote(list(arguments), variables, os.getcwd())
        try:
            ray.get(started)
        except ray.exceptions.RayTaskError as error:
            raise VltoolError(
                f"process {rank} cannot be started on its node: {error.cause}. The nodes of the cluster need vltool, "
                "and the folders of the run at the same paths"
            ) from error
        except ray.exceptions.RayError:
            return members
    return members


def _wait(ray: Any, members: Sequence[Any], signals: list[int]) -> _Watch:
    """Look at the processes until all have ended; when one fails, the others have a while to end by themselves."""
    watch = _Watch([None] * len(members), [b""] * len(members))
    num_signals, deadline = 0, float("inf")  # one that came while they were started is passed on as well
    while any(code is None for code in watch.codes):
        _look(ray, members, watch)
        if len(signals) > num_signals:
            num_signals += 1
            for member in members:
                member.send.remote(signal.SIGTERM if num_signals == 1 else signal.SIGKILL)
        if deadline == float("inf") and any(has_failed(code) for code in watch.codes):
            deadline = time.monotonic() + SECONDS_TO_LEAVE
        if time.monotonic() > deadline:
            break
        time.sleep(SECONDS_BETWEEN_LOOKS)
    for member in members:
        ray.kill(member)
    return watch


def _look(ray: Any, members: Sequence[Any], watch: _Watch) -> None:
    """Ask every member that runs how it does, and take what answers come within a moment."""
    for rank, member in enumerate(members):
        if watch.codes[rank] is None and rank not in watch.asked.values():
            watch.asked[member.look.remote()] = rank
    for answer in ray.wait(list(watch.asked), num_returns=len(watch.asked), timeout=SECONDS_BETWEEN_LOOKS)[0]:
        rank = watch.asked.pop(answer)
        try:
            seen = ray.get(answer)
        except ray.exceptions.RayActorError:
            watch.codes[rank] = GONE
            continue
        watch.codes[rank] = seen.code
        watch.last_words[rank] = (watch.last_words[rank] + seen.stderr)[-LONGEST_TEXT:]
        if rank == 0:
            said = zip((sys.stdout, sys.stderr), watch.decoders, (seen.stdout, seen.stderr), strict=True)
            for stream, decoder, text in said:
                stream.write(decoder.decode(text))
                stream.flush()


def _text(words: bytes) -> str:
    return words.decode(errors="replace").strip()


@contextmanager
def _noting_signals() -> Iterator[list[int]]:
    """The numbers of SIGINT and SIGTERM as they come, instead of what they would do."""
    noted: list[int] = []

    def note(number: int, frame: object) -> None:
        noted.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
