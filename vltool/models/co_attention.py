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


def mask_bias(mask: Tensor, num_slots: int) -> Tensor:
    """(N, M + P) float32: 0 where attention may go, very low at padding. Memory slots are never masked.

    Low enough that its exponential is 0, and finite, so that a sequence of padding alone gives no NaN.
    """
    bias = torch.zeros(mask.shape[0], num_slots + mask.shape[1], device=mask.device)
    bias[:, num_slots:].masked_fill_(~mask, torch.finfo(torch.float32).min / 2)
    return bias


def bias_where_masked(mask: Tensor, num_slots: int) -> Tensor | None:
    """`mask_bias`, or None where nothing is masked. A GPU would be waited for and a compiled graph cut: always made."""
    may_look = mask.device.type == "cpu" and not torch.compiler.is_compiling()
    return None if may_look and bool(mask.all()) else mask_bias(mask, num_slots)


def split_heads(sequence: Tensor, num_maps: int) -> Tensor:
    """(N, P, d) -> (N, H, P, d / H)."""
    return sequence.unflatten(-1, (num_maps, -1)).transpose(1, 2)


def head_affinity(words: Tensor, regions: Tensor, num_maps: int) -> Tensor:
    """One multiplicative affinity per map, scaled by 1 / sqrt(d / H).

    words (N, P, d) and regions (N, Q, d), both projected -> (N, H, P, Q).
    """
    scale = (words.shape[-1] // num_maps) ** -0.5
    return split_heads(words * scale, num_maps) @ split_heads(regions, num_maps).transpose(-1, -2)


def both_softmaxes(
    affinity: Tensor, row_bias: Tensor | None, column_bias: Tensor | None, *, row_dim: int = -2
) -> tuple[Tensor, Tensor]:
    """The attention over columns for each row and over rows for each column, both of the affinity's own shape.

    affinity: one side's positions along `row_dim`, the other's along the last dimension; overwritten. The biases, of
    the positions they are named after, broadcast to it; None adds nothing. At least float32, whose softmax is the
    faster one and whose rows sum to 1.
    """
    affinity = at_least_float32(affinity)
    masked = affinity if column_bias is None else affinity + column_bias.to(affinity.dtype)
    over_columns = masked.softmax(dim=-1)
    if row_bias is not None:
        affinity.add_(row_bias.to(affinity.dtype))
    return over_columns, affinity.softmax(dim=row_dim)


def at_least_float32(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor


def behind_slots(memory: Tensor, sequence: Tensor) -> Tensor:
    """The memory slots in front of every row of the sequence: (M, d) and (N, P, d) -> (N, M + P, d)."""
    if not memory.shape[0]:
        return sequence
    return torch.cat([memory.to(sequence.dtype).expand(len(sequence), -1, -1), sequence], dim=1)
