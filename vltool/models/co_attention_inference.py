"""A dense co-attention layer without a gradient, in few passes over memory.

Where bfloat16 products are fast, whatever else goes over the sequences takes as long as they do. So each product
leaves a whole tensor, the sequence itself is added by its own product, and what is left is one pass: since
x + ReLU(z) = max(x, x + z), the ReLU and the sum are a maximum. The letters are those of `co_attention_function`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from vltool.models.co_attention import at_least_float32, behind_slots, both_softmaxes
from vltool.models.co_attention_function import PackedWeights, by_head
from vltool.models.products import linear, linear_plus


class InferenceWeights(NamedTuple):
    """`PackedWeights` cut into whole matrices, with what the memory slots are projected to."""

    affinity_x: Tensor  # (d, d)
    affinity_y: Tensor
    own_x: Tensor  # (d, d): first half of x's W
    own_y: Tensor
    attended_x: Tensor  # (d, d): second half of x's W, through which x attends to y
    attended_y: Tensor
    bias_x: Tensor
    bias_y: Tensor
    memory_y: Tensor  # (M, d)
    slots_x: Tensor  # (M, d): memory_x through affinity_x
    slots_y: Tensor
    values_x: Tensor  # (M, d): memory_x through attended_y


def for_inference(packed: PackedWeights) -> InferenceWeights:
    """The same weights; only x's W is copied."""
    affinity_x, attended_y = packed.project_x.chunk(2)
    affinity_y, own_y = packed.project_y.chunk(2)
    own_x, attended_x = (half.contiguous() for half in packed.fuse_x.chunk(2, dim=1))
    return InferenceWeights(
        affinity_x,
        affinity_y,
        own_x,
        own_y,
        attended_x,
        attended_y,
        packed.bias_x,
        packed.bias_y,
        packed.memory_y,
        linear(packed.memory_x, affinity_x),
        linear(packed.memory_y, affinity_y),
        linear(packed.memory_x, attended_y),
    )


def co_attend(
    x: Tensor, y: Tensor, weights: InferenceWeights, biases: tuple[Tensor, Tensor], *, num_maps: int
) -> tuple[Tensor, Tensor]:
    """(x, y) of one level -> (x, y) of the next, as `CoAttention` gives them without dropout.

    x (N, P, d), y (N, Q, d): in the weights' precision. biases (N, M + P) and (N, M + Q): the masks'.
    """
    num_slots = len(weights.memory_y)
    heads_x = by_head(weights.slots_x, linear(x, weights.affinity_x), num_maps)  # (N * H, M + P, d / H)
    heads_y = by_head(weights.slots_y, linear(y, weights.affinity_y), num_maps)
    # The longer side in front: the product of many small matrices takes half the time that way on a CPU.
    affinity = at_least_float32(heads_y @ heads_x.transpose(1, 2)).mul_(heads_x.shape[-1] ** -0.5)
    affinity = affinity.unflatten(0, (-1, num_maps))  # (N, H, M + Q, M + P)
    over_x, over_y = both_softmaxes(affinity, biases[1][:, None, :, None], biases[0][:, None, None, :])
    mean_over_x = over_x.mean(dim=1)[:, num_slots:].to(x.dtype)  # (N, Q, M + P)
    mean_over_y = over_y.mean(dim=1)[:, :, num_slots:].transpose(1, 2).to(x.dtype, memory_format=torch.contiguous_format)

    attended = (mean_over_y[..., :num_slots].flatten(0, 1) @ weights.memory_y).view_as(x)  # (N, P, d)
    attended.baddbmm_(mean_over_y[..., num_slots:], y)
    fused_x = linear_plus(x, weights.own_x, weights.bias_x, x)
    fused_x = linear_plus(attended, weights.attended_x, None, fused_x)
    values = behind_slots(weights.values_x, linear(x, weights.attended_y))  # (N, M + P, d)
    fused_y = linear_plus(y, weights.own_y, weights.bias_y, y).baddbmm_(mean_over_x, values)
    return torch.maximum(x, fused_x, out=fused_x), torch.maximum(y, fused_y, out=fused_y)
