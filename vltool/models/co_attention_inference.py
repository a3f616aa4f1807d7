"""A dense co-attention layer without a gradient, in few passes over memory.

Where bfloat16 products are fast, whatever else goes over the sequences takes as long as they do. So each product
leaves a whole tensor, the sequence itself is added by its own product, and what is left is one pass: since
x + relu(z) = max(x, x + z), the ReLU and the sum are a maximum. The letters are those of `co_attention_function`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vltool.models.co_attention import behind_slots
from vltool.models.co_attention_function import PackedWeights, attend, by_head, maps_of
from vltool.models.products import linear, linear_plus


def co_attend(
    x: Tensor, y: Tensor, packed: PackedWeights, biases: tuple[Tensor, Tensor], *, num_maps: int
) -> tuple[Tensor, Tensor]:
    """(x, y) of one level -> (x, y) of the next, as `CoAttention` gives them without dropout.

    x (N, P, d), y (N, Q, d): in the weights' precision. biases (N, M + P) and (N, M + Q): the masks'.
    """
    num_slots, width = packed.memory_x.shape
    affinity_x, attended_y = packed.project_x.chunk(2)
    affinity_y, own_y = packed.project_y.chunk(2)
    heads_x = by_head(packed.slots_x[:, :width], linear(x, affinity_x), num_maps)  # (N * H, M + P, d / H)
    heads_y = by_head(packed.slots_y[:, :width], linear(y, affinity_y), num_maps)
    over_y, over_x = maps_of(heads_x, heads_y, biases, num_maps)  # (N, H, M + Q, M + P)
    mean_over_y = over_y.mean(dim=1)[..., num_slots:].to(x.dtype)  # (N, M + Q, P)
    mean_over_x = over_x.mean(dim=1)[:, num_slots:].to(x.dtype)  # (N, Q, M + P)

    attended_x = attend(mean_over_y, packed.memory_y, y)  # (N, P, d)
    fused_x = linear_plus(x, packed.own_x, packed.bias_x, x)
    fused_x = linear_plus(attended_x, packed.attended_x, None, fused_x)
    values = behind_slots(packed.slots_x[:, width:], linear(x, attended_y))  # (N, M + P, d)
    fused_y = linear_plus(y, own_y, packed.bias_y, y).baddbmm_(mean_over_x, values)
    return torch.maximum(x, fused_x), torch.maximum(y, fused_y)
