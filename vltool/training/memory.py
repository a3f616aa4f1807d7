"""What happens when memory runs out: a message that says what to lower."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from vltool.errors import TrainingError

_SAID_BY_TORCH = ("out of memory", "not enough memory", "can't allocate memory", "ALLOC_FAILED")


@contextmanager
def explaining_memory(doing: str, advice: str) -> Iterator[None]:
    """Turn running out of memory, on a GPU or off it, into a TrainingError. doing: "in …"; advice: what to lower."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise TrainingError(f"out of memory {doing}. {advice}. The last checkpoint, if any, is kept") from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch, numpy or Python means that memory ran out."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _SAID_BY_TORCH)
