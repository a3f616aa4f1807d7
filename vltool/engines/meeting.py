"""How processes that were started together find each other, and who is missing when one does not come.

`torchrun` (and `launch.py`) tell each by RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT. Process 0 listens there, or the
agent of torchrun does.
"""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from vltool.errors import ConfigError, TrainingError

SECONDS_TO_COME = 300.0
"""How long a process waits for the others: they may start on other machines, and read torch from a slow disk."""

_ALONE = "or unset RANK and WORLD_SIZE to work in one process"
_OWN = "Set MASTER_ADDR to an address of its machine, and MASTER_PORT to a free port"
_NAMED = 8  # processes that a message names


@dataclass(frozen=True)
class Place:
    """The number of a process among `size`, and where they meet."""

    rank: int
    size: int
    address: str
    port: int


def group_size() -> int:
    """How many processes the environment says were started together. Raises ConfigError for no number."""
    return _number("WORLD_SIZE", 1, default="1")


def place_of_environment() -> Place:
    """What the environment says of this process. Raises ConfigError naming a variable that is missing or wrong."""
    size = group_size()
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        if name not in os.environ:
            raise ConfigError(f"WORLD_SIZE is set, but {name} is not. Start with torchrun, or unset WORLD_SIZE")
    rank = _number("RANK", 0, size - 1)
    return Place(rank, size, os.environ["MASTER_ADDR"], _number("MASTER_PORT", 1, 65535))


def _number(name: str, lowest: int, highest: int | None = None, *, default: str = "") -> int:
    text = os.environ.get(name) or default
    if text.strip().isdecimal() and lowest <= int(text) <= (int(text) if highest is None else highest):
        return int(text)
    legal = f"{lowest} or more" if highest is None else f"{lowest} to {highest}"
    raise ConfigError(f"{name} is {text!r} in the environment; legal is {legal}. Start with torchrun, {_ALONE}")


def meet(place: Place, *, seconds: float | None = None) -> Any:
    """The store in which all processes of a group have put their names. Raises TrainingError naming who is missing.

    seconds: how long the others may take to come; default SECONDS_TO_COME.
    """
    import torch.distributed as distributed

    limit = SECONDS_TO_COME if seconds is None else seconds
    listens = place.rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    until = time.monotonic() + limit
    try:
        if not listens:  # torch would write a page of its own about every vain attempt
            _wait_for_listener(place, until)
        tcp = distributed.TCPStore(
            place.address,
            place.port,
            is_master=listens,
            timeout=timedelta(seconds=limit),
            wait_for_workers=False,
            multi_tenant=True,
        )
    except (RuntimeError, ValueError, OSError) as error:
        raise _nobody_there(place, limit, error) from error
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    store = distributed.PrefixStore(f"vltool/{attempt}", tcp)
    store.set(f"here/{place.rank}", "")
    missing = list(range(place.size))
    while missing := [rank for rank in missing if not store.check([f"here/{rank}"])]:
        if time.monotonic() > until:
            raise TrainingError(
                f"{_named(missing)} of {place.size} did not come within {limit:g} s to process 0 at {place.address}:"
                f"{place.port} (this is process {place.rank}). Start them all with the same MASTER_ADDR, MASTER_PORT "
                f"and WORLD_SIZE, each with its own RANK, {_ALONE}"
            )
        time.sleep(0.05)
    store.set_timeout(timedelta(minutes=30))  # of the exchanges that follow
    return store


def _wait_for_listener(place: Place, until: float) -> None:
    """Return when somebody listens where the processes meet. Raises OSError when the time is over."""
    while True:
        try:
            socket.create_connection((place.address, place.port), timeout=max(0.1, until - time.monotonic())).close()
            return
        except OSError:
            if time.monotonic() > until:
                raise
        time.sleep(0.1)


def _nobody_there(place: Place, limit: float, error: Exception) -> TrainingError:
    where = f"{place.address}:{place.port}"
    first = str(error).splitlines()[0]
    if place.rank == 0:
        return TrainingError(f"process 0 of {place.size} cannot listen at {where} ({first}). {_OWN}")
    return TrainingError(
        f"process 0 of {place.size} did not come within {limit:g} s to {where} (this is process {place.rank}; "
        f"{first}). Start it too, with this MASTER_ADDR and MASTER_PORT and RANK=0, {_ALONE}"
    )


def _named(ranks: list[int]) -> str:
    if len(ranks) == 1:
        return f"process {ranks[0]}"
    more = f" and {len(ranks) - _NAMED} more" if len(ranks) > _NAMED else ""
    return "processes " + ", ".join(map(str, ranks[:_NAMED])) + more
