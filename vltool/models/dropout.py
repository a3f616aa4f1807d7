"""Dropout whose masks cost little on a CPU."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vltool.errors import ConfigError

LEVELS = 2**16


class Dropout(nn.Module):
    """torch's dropout; on a CPU its masks are cut from 64-bit draws, four elements each.

    torch draws one number an element there, which takes a fifth of a training step. The probability is rounded to
    1 / 65536, the scale goes with the rounded one, and the draws come from torch's generator.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        if not 0 <= probability < 1:
            raise ConfigError(f"a dropout of {probability} is not possible. Choose a number from 0 up to, not with, 1.")
        self.probability = probability

    def forward(self, features: Tensor) -> Tensor:
        if not self.training or self.probability == 0.0:
            return features
        if features.device.type != "cpu":
            return F.dropout(features, self.probability)
        num_dropped = min(round(self.probability * LEVELS), LEVELS - 1)
        kept = random_levels(features.numel()).view(features.shape) >= num_dropped - LEVELS // 2
        return features * kept.to(features.dtype).mul_(LEVELS / (LEVELS - num_dropped))

    def extra_repr(self) -> str:
        return f"probability={self.probability}"


def random_levels(count: int) -> Tensor:
    """(count,) int16, each of the 65,536 values equally likely."""
    draws = torch.empty((count + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    return draws.view(torch.int16)[:count]
