"""The arithmetic of dense co-attention: affinities, the two averaged attention maps, attending with them.

Shapes: N rows, H maps (heads), M memory slots in front of both sequences, T words, R regions, d wide.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class AttentionMaps(NamedTuple):
    """Both attention maps of a layer, one per head, without the memory slots' columns.

    words_over_regions (N, H, T, R): for each word, over regions. regions_over_words (N, H, R, T): for each region,
    over words. What a row lacks to 1 went to the memory slots.
    """

    words_over_regions: Tensor
    regions_over_words: Tensor


def mask_bias(mask: Tensor, num_slots: int, dtype: torch.dtype) -> Tensor:
    """(N, M + P): 0 where attention may go, the dtype's lowest number at padding. Memory slots are never masked.

    Not minus infinity: a sequence of padding alone would give NaN.
    """
    bias = torch.zeros(mask.shape[0], num_slots + mask.shape[1], dtype=dtype, device=mask.device)
    bias[:, num_slots:].masked_fill_(~mask, torch.finfo(dtype).min)
    return bias


def split_heads(sequence: Tensor, num_maps: int) -> Tensor:
    """(N, P, d) -> (N, H, P, d / H)."""
    return sequence.unflatten(-1, (num_maps, -1)).transpose(1, 2)


def head_affinity(words: Tensor, regions: Tensor, num_maps: int) -> Tensor:
    """One multiplicative affinity per map, scaled by 1 / sqrt(d / H).

    words (N, P, d) and regions (N, Q, d), both projected -> (N, H, P, Q).
    """
    scale = (words.shape[-1] // num_maps) ** -0.5
    return split_heads(words * scale, num_maps) @ split_heads(regions, num_maps).transpose(-1, -2)


def attend(weights: Tensor, features: Tensor, memory: Tensor) -> Tensor:
    """Weighted sums over the memory slots and the features behind them.

    weights (N, P, M + Q), features (N, Q, width), memory (M, width) -> (N, P, width).
    """
    num_slots = memory.shape[0]
    attended = weights[..., num_slots:] @ features
    return attended + weights[..., :num_slots] @ memory if num_slots else attended
