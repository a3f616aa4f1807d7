"""Processes that do one job together, each with its number: what they add up, gather and wait for.

`join` reads the variables that `torchrun` (and `launch.py`) sets: RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and
MASTER_PORT (`meeting.py`). Without them a process is alone, and everything here costs nothing.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vltool.engines.meeting import group_size, meet, place_of_environment
from vltool.errors import ConfigError, TrainingError

if TYPE_CHECKING:
    from torch import Tensor, nn

LAUNCHED = "VLTOOL_LAUNCHED"
"""Set by `launch.py` to the descriptor of a pipe that closes when the launching process dies."""

LOST = 70
"""Exit code of a launched process that another one has left alone; the launcher knows the cause and says it."""


class LostProcess(TrainingError):
    """Another of the processes that train together has died."""


@dataclass(frozen=True)
class Processes:
    """This process among `size` that work together; rank 0 is the one that writes and speaks."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def add_up(self, tensor: Tensor) -> None:
        """Put the sum over all processes into `tensor`, the same bits in each of them."""
        if self.size > 1:
            import torch.distributed as distributed

            _with_others(lambda: distributed.all_reduce(tensor))

    def any(self, value: bool) -> bool:
        """Whether `value` is true in any of them: all get the same answer."""
        if self.size == 1:
            return value
        import torch

        count = torch.tensor(int(value))
        self.add_up(count)
        return bool(count.item())

    def gather(self, value: Any) -> list[Any]:
        """The values of all processes, in the order of their ranks, in each of them."""
        if self.size == 1:
            return [value]
        import torch.distributed as distributed

        values: list[Any] = [None] * self.size
        _with_others(lambda: distributed.all_gather_object(values, value))
        return values

    def wait(self) -> None:
        """Go on when all have come here."""
        self.gather(None)

    def share_weights(self, model: nn.Module) -> None:
        """Give every process the parameters and buffers of the first one."""
        if self.size == 1:
            return
        import torch
        import torch.distributed as distributed

        with torch.no_grad():
            for tensor in model.state_dict().values():
                _with_others(lambda tensor=tensor: distributed.broadcast(tensor, src=0))  # type: ignore[misc]

    def share_of(self, count: int) -> range:
        """Which of `count` things in a row are this process's: contiguous, as even as can be."""
        return range(self.rank * count // self.size, (self.rank + 1) * count // self.size)


ALONE = Processes()


def is_one_of_many() -> bool:
    """Whether this process was started to work with others. Raises ConfigError if WORLD_SIZE is no number."""
    return group_size() > 1


def refuse_group(command: str, *, instead: str) -> None:
    """Raises ConfigError if this process was started with others, for a command that one process does.

    instead: how several processes help there.
    """
    if "RANK" in os.environ and is_one_of_many():
        raise ConfigError(
            f"{group_size()} processes were started (WORLD_SIZE), and vltool {command} is the work of one: they would "
            f"write over each other. Start it once, without torchrun{instead}"
        )


def is_started_by_another() -> bool:
    """Whether a process was started by one that has read the command before: with others, or alone on another node."""
    return is_one_of_many() or LAUNCHED in os.environ


@contextmanager
def join(device: str) -> Iterator[Processes]:
    """The processes started together with this one, until the block ends; ALONE if there are none.

    device: of the configuration. Gradients travel by nccl between GPUs, one a process, and by gloo between CPUs.
    Raises ConfigError if there are too few GPUs, TrainingError naming who has not come in time. A launched process that
    others have left ends with code LOST.
    """
    launched = LAUNCHED in os.environ
    if launched:
        threading.Thread(target=_end_with, args=(int(os.environ[LAUNCHED]),), daemon=True).start()
    if not is_one_of_many():
        yield ALONE
        return
    import torch.distributed as distributed

    place = place_of_environment()
    backend = "cpu:gloo,cuda:nccl" if _take_gpu(device) else "gloo"
    store = meet(place)
    distributed.init_process_group(backend, store=store, rank=place.rank, world_size=place.size)
    try:
        yield Processes(place.rank, place.size)
    except LostProcess:
        if launched:
            raise SystemExit(LOST) from None
        raise
    finally:
        distributed.destroy_process_group()


def leave(code: str | int | None) -> None:
    """End a process that worked with others, as sys.exit(code) does; one that is alone goes on to end as it likes.

    Nothing is torn down: about once in forty times a thread of torch's process groups is still there when the
    destructors of C++ run, and the process aborts after all its work is done (torch 2.14, gloo).
    """
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return
    if isinstance(code, str):
        sys.stderr.write(code + "\n")
        code = 1
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code or 0)


def _take_gpu(device: str) -> bool:
    import torch

    if device == "cpu" or not torch.cuda.is_available():
        return False
    place, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if place >= count:
        raise ConfigError(
            f"process {place + 1} of this machine has no GPU of its own, there are {count}. Start {count} processes, "
            "or set training.device=cpu"
        )
    torch.cuda.set_device(place)
    return True


def _with_others(exchange: Callable[[], object]) -> None:
    try:
        exchange()
    except RuntimeError as error:
        raise LostProcess(
            f"another process of this training has gone ({str(error).splitlines()[0]}). The last checkpoint is kept: "
            "run the same command again to go on from it"
        ) from error


def _end_with(descriptor: int) -> None:
    os.read(descriptor, 1)  # returns when the launching process has died
    os._exit(1)
