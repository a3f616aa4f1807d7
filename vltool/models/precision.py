"""In which number format the network computes: float32, or bfloat16 where the machine multiplies it faster."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal, get_args

import torch
from torch import Tensor

from vltool.errors import ConfigError
from vltool.processor import has_bfloat16_units

Precision = Literal["auto", "float32", "bfloat16"]


def compute_in(precision: str, device: torch.device | str) -> AbstractContextManager[object]:
    """A context in which the network's matrix products are made in `precision`; weights stay as they are.

    "auto" takes bfloat16 where the machine has units for it, float32 elsewhere.
    """
    if resolve_precision(precision, device) == "float32":
        return nullcontext()
    return torch.autocast(torch.device(device).type, dtype=torch.bfloat16)


def resolve_precision(precision: str, device: torch.device | str) -> str:
    """ "float32" or "bfloat16". Raises ConfigError for a name that is neither of them nor "auto"."""
    if precision not in get_args(Precision):
        raise ConfigError(f"precision {precision!r} is not known. Choose one of: {', '.join(get_args(Precision))}.")
    if precision != "auto":
        return precision
    return "bfloat16" if has_bfloat16_units(device) else "float32"


def compute_dtype(features: Tensor) -> torch.dtype:
    """The type in which autocast would multiply `features`; their own outside of it."""
    kind = features.device.type
    if features.dtype == torch.float64 or not torch.is_autocast_enabled(kind):
        return features.dtype
    return torch.get_autocast_dtype(kind)
