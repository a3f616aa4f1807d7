"""One process at a time in the folder of a training."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vltool.errors import TrainingError


@contextmanager
def only_process_in(folder: Path) -> Iterator[None]:
    """Hold `folder` until the block ends; the system lets go when the process dies.

    Raises TrainingError if another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TrainingError(
                f"{folder}: another process is training there. Wait for it, or give this run another `out`"
            ) from None
        yield
