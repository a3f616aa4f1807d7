"""A dense co-attention layer without a gradient, in few operations and few passes over memory.

The affinity of a map is x A^T B y^T with the map's rows of the two projections A and B. (x A^T) B costs as much as a
projection of x, and y, the longer side, is not projected at all.

Where bfloat16 products are fast, whatever else goes over the sequences takes as long as they do. So each product
leaves a whole tensor, the sequence itself is added by its own product, and what is left is one pass: since
x + ReLU(z) = max(x, x + z), the ReLU and the sum are a maximum; into new memory, as a pass that writes where it reads
takes longer. What is large is given back before more is asked for, as its memory is still in the caches. The letters
are those of `co_attention_function`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vltool.models.co_attention import behind_slots, both_softmaxes
from vltool.models.co_attention_function import PackedWeights
from vltool.models.products import linear, linear_plus, product_into, reordered

WIDTH_STEP = 32
"""Of a product's width: oneDNN's in bfloat16 take up to a third longer where it is no multiple of it."""


class InferenceWeights(NamedTuple):
    """`PackedWeights` cut into whole matrices, with what the memory slots are projected to.

    The scale of an affinity, 1 / sqrt(d / H), is in affinity_x; affinity_y goes by map. Below affinity_x is what gives
    each position of x its affinities to the slots of y, H * M rows; below own_y what gives each of y those to the slots
    of x, M * H rows; both, and bias_y, with zeros up to a multiple of WIDTH_STEP. The slots have theirs among
    themselves. own_x and own_y hold the identity where `holds_identity` says so.
    """

    affinity_x: Tensor  # (d + ..., d)
    affinity_y: Tensor  # (H, d / H, d)
    own_x: Tensor  # (d, d): first half of x's W
    own_y: Tensor  # (d + ..., d)
    attended_x: Tensor  # (d, d): second half of x's W, through which x attends to y
    attended_y: Tensor
    bias_x: Tensor
    bias_y: Tensor  # (d + ...)
    memory_y: Tensor  # (M, d)
    values_x: Tensor  # (M, d): memory_x through attended_y
    among_slots: Tensor  # (M, H, M): a slot of x, the map, a slot of y


def for_inference(packed: PackedWeights, num_maps: int, *, reorder: bool = False) -> InferenceWeights:
    """The weights, cut and copied; with the scale and the identity as `InferenceWeights` says.

    reorder: into the order that products read soonest, which pays where the weights serve many calls.
    """
    affinity_x, attended_y = packed.project_x.chunk(2)
    affinity_x = affinity_x * (len(affinity_x) // num_maps) ** -0.5
    affinity_y, own_y = packed.project_y.chunk(2)
    own_x, attended_x = packed.fuse_x.chunk(2, dim=1)
    maps_x, maps_y = (affinity.unflatten(0, (num_maps, -1)) for affinity in (affinity_x, affinity_y))  # (H, d / H, d)
    slots_x, slots_y = (  # (M, H, d / H)
        linear(memory, affinity).unflatten(1, (num_maps, -1))
        for memory, affinity in ((packed.memory_x, affinity_x), (packed.memory_y, affinity_y))
    )
    values_x = linear(packed.memory_x, attended_y)
    if holds_identity(own_x.dtype):
        identity = torch.eye(len(own_x), dtype=own_x.dtype, device=own_x.device)
        own_x, own_y = own_x + identity, own_y + identity
    affinity_x = _with_rows_below(affinity_x, (slots_y.transpose(0, 1) @ maps_x).flatten(0, 1))
    own_y = _with_rows_below(own_y, (slots_x.transpose(0, 1) @ maps_y).transpose(0, 1).flatten(0, 1))
    bias_y = F.pad(packed.bias_y, (0, len(own_y) - len(packed.bias_y)))
    whole = (affinity_x, own_x, own_y, attended_x, attended_y)
    affinity_x, own_x, own_y, attended_x, attended_y = (
        reordered(weight) if reorder else weight.contiguous() for weight in whole
    )
    return InferenceWeights(
        affinity_x,
        maps_y,
        own_x,
        own_y,
        attended_x,
        attended_y,
        packed.bias_x,
        bias_y,
        packed.memory_y,
        values_x,
        (slots_x.transpose(0, 1) @ slots_y.permute(1, 2, 0)).transpose(0, 1),
    )


def _with_rows_below(weight: Tensor, more: Tensor) -> Tensor:
    """More rows below a weight's own, if there are any, and zeros up to a multiple of WIDTH_STEP below them."""
    if not len(more):
        return weight
    return torch.cat([weight, more, more.new_zeros(-(len(weight) + len(more)) % WIDTH_STEP, more.shape[1])])


def holds_identity(dtype: torch.dtype) -> bool:
    """Whether a sequence's own weight also adds the sequence itself, which saves a pass over it.

    1 + w in bfloat16 errs by as much as the sequence does in bfloat16; in float32 scores would move beyond 1e-5.
    """
    return dtype == torch.bfloat16


def with_itself(sequence: Tensor, own: Tensor, bias: Tensor) -> Tensor:
    """The sequence plus its product with its own half of W, plus the bias; behind it what `own` has more rows for."""
    width = sequence.shape[-1]
    if holds_identity(sequence.dtype):
        return linear(sequence, own, bias)
    if len(bias) == width:
        return linear_plus(sequence, own, bias, sequence)
    result = linear(sequence, own, bias)
    result[..., :width] += sequence
    return result


def co_attend(
    x: Tensor, y: Tensor, weights: InferenceWeights, biases: tuple[Tensor | None, Tensor | None]
) -> tuple[Tensor, Tensor]:
    """(x, y) of one level -> (x, y) of the next, as `CoAttention` gives them without dropout.

    x (N, P, d), y (N, Q, d): in the weights' precision. biases (N, M + P) and (N, M + Q): the masks', None where
    nothing is masked.
    """
    num_slots = len(weights.memory_y)
    bias_x, bias_y = biases
    row_bias = None if bias_x is None else bias_x[:, :, None, None]
    column_bias = None if bias_y is None else bias_y[:, None, None]
    fused_y = with_itself(y, weights.own_y, weights.bias_y)  # (N, Q, d + ...)
    fused_y, y_to_slots = fused_y.tensor_split([y.shape[-1]], dim=-1)
    over_y, over_x = both_softmaxes(affinity(x, y, y_to_slots, weights), row_bias, column_bias, row_dim=1)
    mean_over_y = over_y.mean(dim=2)[:, num_slots:].to(x.dtype)  # (N, P, M + Q)
    mean_over_x = over_x.mean(dim=2)[..., num_slots:].transpose(1, 2)  # (N, Q, M + P)
    mean_over_x = mean_over_x.to(x.dtype, memory_format=torch.contiguous_format)
    del over_y, over_x

    attended = (mean_over_y[..., :num_slots].flatten(0, 1) @ weights.memory_y).view_as(x)  # (N, P, d)
    attended.baddbmm_(mean_over_y[..., num_slots:], y)
    fused_x = linear_plus(attended, weights.attended_x, None, with_itself(x, weights.own_x, weights.bias_x))
    del attended
    next_x = torch.maximum(x, fused_x)
    del fused_x

    values = behind_slots(weights.values_x, linear(x, weights.attended_y))  # (N, M + P, d)
    fused_y = fused_y.baddbmm_(mean_over_x, values)
    del values
    return next_x, torch.maximum(y, fused_y)


def affinity(x: Tensor, y: Tensor, y_to_slots: Tensor, weights: InferenceWeights) -> Tensor:
    """(N, M + P, H, M + Q), scaled; at least float32. y_to_slots (N, Q, M * H + ...): what is below own_y gave."""
    (num_rows, length_x, width), length_y = x.shape, y.shape[1]
    num_maps, num_slots = len(weights.affinity_y), len(weights.memory_y)
    projected = linear(x.flatten(0, 1), weights.affinity_x)  # (N * P, d + ...)
    by_map = projected[:, :width].chunk(num_maps, dim=1)  # (N * P, d / H) each
    reaching = x.new_empty(num_rows * length_x, num_maps, width)
    for number, (of_map, of_y) in enumerate(zip(by_map, weights.affinity_y, strict=True)):
        product_into(reaching[:, number], of_map, of_y)
    found = reaching.view(num_rows, length_x * num_maps, width) @ y.transpose(1, 2)  # (N, P * H, Q)
    del reaching

    result = torch.empty(
        (num_rows, num_slots + length_x, num_maps, num_slots + length_y),
        dtype=torch.promote_types(x.dtype, torch.float32),
        device=x.device,
    )
    x_to_slots = projected[:, width : width + num_maps * num_slots].view(num_rows, length_x, num_maps, num_slots)
    y_to_slots = y_to_slots[..., : num_slots * num_maps].view(num_rows, length_y, num_slots, num_maps)
    result[:, num_slots:, :, num_slots:] = found.view(num_rows, length_x, num_maps, length_y)
    result[:, num_slots:, :, :num_slots] = x_to_slots
    result[:, :num_slots, :, num_slots:] = y_to_slots.permute(0, 2, 3, 1)
    result[:, :num_slots, :, :num_slots] = weights.among_slots
    return result
