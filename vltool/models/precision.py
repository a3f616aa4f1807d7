"""In which number format the network computes.

float32, or bfloat16 where the machine multiplies it faster; float16 on a GPU for those who ask for it.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal, get_args

import torch
from torch import Tensor

from vltool.errors import ConfigError
from vltool.processor import has_bfloat16_units

Precision = Literal["auto", "float32", "bfloat16", "float16"]


def compute_in(precision: str, device: torch.device | str) -> AbstractContextManager[object]:
    """A context in which the network's matrix products are made in `precision`; weights stay as they are.

    "auto" takes bfloat16 where the machine has units for it, float32 elsewhere.
    """
    resolved = resolve_precision(precision, device)
    if resolved == "float32":
        return nullcontext()
    return torch.autocast(torch.device(device).type, dtype=getattr(torch, resolved))


def resolve_precision(precision: str, device: torch.device | str) -> str:
    """The precision with "auto" made plain. Raises ConfigError for a name not known, and for float16 without a GPU."""
    if precision not in get_args(Precision):
        raise ConfigError(f"precision {precision!r} is not known. Choose one of: {', '.join(get_args(Precision))}.")
    if precision == "float16" and torch.device(device).type != "cuda":
        here = torch.device(device).type
        raise ConfigError(f"precision float16 needs a GPU, the device is {here}. Choose bfloat16, float32 or auto")
    if precision != "auto":
        return precision
    return "bfloat16" if has_bfloat16_units(device) else "float32"


def compute_dtype(features: Tensor) -> torch.dtype:
    """The type in which autocast would multiply `features`; their own outside of it."""
    kind = features.device.type
    if features.dtype == torch.float64 or not torch.is_autocast_enabled(kind):
        return features.dtype
    return torch.get_autocast_dtype(kind)
