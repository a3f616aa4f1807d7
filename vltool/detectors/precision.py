"""In which arithmetic a detector runs."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from vltool.errors import ConfigError
from vltool.processor import has_bfloat16_units

PRECISIONS = ("auto", "float32", "bfloat16")
LARGE = 10_000_000  # parameters; below, memory and overheads decide and bfloat16 gains nothing


def choose_precision(precision: str, network: nn.Module, device: str) -> str:
    """ "float32" or "bfloat16". "auto" takes bfloat16 for a large network on a processor that multiplies it natively.

    bfloat16 keeps 8 bits of a number: features differ by about 1 % from float32's.
    """
    if precision not in PRECISIONS:
        raise ConfigError(f"--precision {precision!r}: choose {', '.join(PRECISIONS)}")
    if precision != "auto":
        return precision
    num_parameters = sum(parameter.numel() for parameter in network.parameters())
    return "bfloat16" if num_parameters > LARGE and has_bfloat16_units(device) else "float32"


def full_float32(device: torch.device) -> AbstractContextManager[None]:
    """Where float32 means float32: a GPU would otherwise convolve with the 10 bits of TF32."""
    if device.type != "cuda":
        return nullcontext()
    return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
