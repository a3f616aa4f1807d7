"""In which arithmetic a detector runs."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from vltool.errors import ConfigError

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
    return "bfloat16" if num_parameters > LARGE and multiplies_bfloat16(device) else "float32"


def full_float32(device: torch.device) -> AbstractContextManager[None]:
    """Where float32 means float32: a GPU would otherwise convolve with the 10 bits of TF32."""
    if device.type != "cuda":
        return nullcontext()
    return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)


def multiplies_bfloat16(device: str) -> bool:
    """Whether bfloat16 products are faster than float32 ones there: AMX tiles, or a GPU since Ampere."""
    if torch.device(device).type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    is_supported = getattr(torch.cpu, "_is_amx_tile_supported", None)  # private, and so may vanish
    return bool(is_supported is not None and is_supported())
