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
        if plain_draws(features):
            return F.dropout(features, self.probability)
        return features * self._kept(features).mul_(self.scale)

    @property
    def scale(self) -> float:
        """What is kept is multiplied by this."""
        return LEVELS / (LEVELS - self._num_dropped)

    @torch.no_grad()
    def drop_(self, features: Tensor) -> float:
        """Set what is dropped to 0 in place; gives what the rest is still to be multiplied by."""
        if not self.training or self.probability == 0.0:
            return 1.0
        if plain_draws(features):
            features.mul_(torch.rand(features.shape, device=features.device) >= self._num_dropped / LEVELS)
        else:
            features.mul_(self._kept(features))
        return self.scale

    @property
    def _num_dropped(self) -> int:
        return min(round(self.probability * LEVELS), LEVELS - 1)

    def _kept(self, features: Tensor) -> Tensor:
        """1 where a feature is kept and 0 elsewhere, in its shape and type."""
        levels = random_levels(features.numel()).view(features.shape)
        # The result goes where the levels are: torch compares into int16 ten times as fast as into bool.
        return torch.ge(levels, self._num_dropped - LEVELS // 2, out=levels).to(features.dtype)

    def extra_repr(self) -> str:
        return f"probability={self.probability}"


def plain_draws(features: Tensor) -> bool:
    """Whether torch's own draws are the ones to take: on a GPU, and where torch.compile writes the code."""
    return features.device.type != "cpu" or torch.compiler.is_compiling()


def random_levels(count: int) -> Tensor:
    """(count,) int16, each of the 65,536 values equally likely."""
    draws = torch.empty((count + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    return draws.view(torch.int16)[:count]
