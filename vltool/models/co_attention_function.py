"""A dense co-attention layer as one function with its own gradient, for training steps at the machine's limit.

What autograd would do with the same arithmetic costs a third more on a CPU: it casts and adds the gradient of every
slice and concatenation on its own. Here each side's projections are one product, each W is one product, and each
weight and each sequence is cast once. The gradients are held to finite differences in the tests.

The sides go by their length, because the shorter one is projected where there is a choice: x (N, P, d) and y (N, Q, d)
with P <= Q. M memory slots, H maps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from vltool.models.co_attention import at_least_float32, both_softmaxes
from vltool.models.products import linear, linear_relu, product, weight_gradient


class LayerWeights(NamedTuple):
    """What the layer learns: of the shorter side x and of the longer side y.

    affinity (d, d), memory (M, d), fuse (d, 2d) = [own ; attended], bias (d).
    """

    affinity_x: Tensor
    affinity_y: Tensor
    memory_x: Tensor
    memory_y: Tensor
    fuse_x: Tensor
    fuse_y: Tensor
    bias_x: Tensor
    bias_y: Tensor


class PackedWeights(NamedTuple):
    """The same, cast and put together by the sequence they multiply."""

    project_x: Tensor  # (2d, d): affinity of x; second half of y's W, through which y attends to x
    project_y: Tensor  # (2d, d): affinity of y; first half of y's W
    fuse_x: Tensor  # (d, 2d)
    bias_x: Tensor
    bias_y: Tensor
    memory_x: Tensor
    memory_y: Tensor


def pack(weights: LayerWeights, dtype: torch.dtype) -> PackedWeights:
    """Casts and copies all that the layer learns, once for all rows."""
    own_y, attended_y = weights.fuse_y.chunk(2, dim=1)

    def stacked(*parts: Tensor) -> Tensor:
        result = parts[0].new_empty(2 * len(parts[0]), parts[0].shape[1], dtype=dtype)
        for place, part in zip(result.chunk(2), parts, strict=True):
            place.copy_(part)
        return result

    return PackedWeights(
        stacked(weights.affinity_x, attended_y),
        stacked(weights.affinity_y, own_y),
        weights.fuse_x.to(dtype),
        weights.bias_x.to(dtype),
        weights.bias_y.to(dtype),
        weights.memory_x.to(dtype),
        weights.memory_y.to(dtype),
    )


class Settings(NamedTuple):
    """What is not learned. drop: takes a tensor, drops from it in place, and says what the rest is to be scaled by."""

    num_maps: int
    dtype: torch.dtype
    drop: Callable[[Tensor], float]


class CoAttention(torch.autograd.Function):
    """(x, y) of one level -> (x, y) of the next (eq. 1-3). The masks' biases: (N, M + P) and (N, M + Q)."""

    @staticmethod
    def forward(
        context: Any, settings: Settings, packed: PackedWeights, biases: tuple[Tensor, Tensor], *tensors: Tensor
    ) -> tuple[Tensor, Tensor]:
        x, y = (tensor.to(settings.dtype) for tensor in tensors[:2])
        num_slots = len(packed.memory_x)
        projected_x, projected_y = linear(x, packed.project_x), linear(y, packed.project_y)  # (N, P, 2d), (N, Q, 2d)
        slots_x = linear(packed.memory_x, packed.project_x)  # (M, 2d)
        slots_y = linear(packed.memory_y, packed.project_y)
        width = x.shape[-1]
        heads_x = by_head(slots_x[:, :width], projected_x[..., :width], settings.num_maps)  # (N * H, M + P, d / H)
        heads_y = by_head(slots_y[:, :width], projected_y[..., :width], settings.num_maps)
        over_y, over_x = maps_of(heads_x, heads_y, biases, settings.num_maps)  # (N, H, M + P, M + Q)
        mean_over_y = over_y.mean(dim=1)[:, num_slots:].to(x.dtype)  # (N, P, M + Q)
        mean_over_x = over_x.mean(dim=1)[:, :, num_slots:].to(x.dtype)  # (N, M + P, Q)

        both_x = x.new_empty(*x.shape[:-1], 2 * width)  # [own ; attended]
        both_x[..., :width] = x
        both_x[..., width:] = attend(mean_over_y, packed.memory_y, y)
        added_x = linear_relu(both_x, packed.fuse_x, packed.bias_x)
        values = torch.cat([slots_x[:, width:].expand(len(x), -1, -1), projected_x[..., width:]], dim=1)
        added_y = projected_y[..., width:] + packed.bias_y
        added_y = added_y.baddbmm_(mean_over_x.transpose(1, 2), values).relu_()

        scale_x, scale_y = settings.drop(added_x), settings.drop(added_y)
        context.settings, context.packed, context.scales = settings, packed, (scale_x, scale_y)
        context.dtypes = [tensor.dtype for tensor in tensors]
        context.save_for_backward(
            both_x, y, heads_x, heads_y, over_y, over_x, mean_over_y, mean_over_x, values, added_x, added_y
        )
        return torch.add(x, added_x, alpha=scale_x), torch.add(y, added_y, alpha=scale_y)

    @staticmethod
    @once_differentiable
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        both_x, y, heads_x, heads_y, over_y, over_x, mean_over_y, mean_over_x, values, added_x, added_y = (
            context.saved_tensors
        )
        packed: PackedWeights = context.packed
        num_maps, width, num_slots = context.settings.num_maps, y.shape[-1], len(packed.memory_x)
        grad_x, grad_y = (gradient.contiguous() for gradient in gradients)
        fused_x = through_relu(grad_x, added_x, context.scales[0])  # (N, P, d)
        grad_projected_x = torch.empty_like(both_x)  # (N, P, 2d): affinity ; attended
        grad_projected_y = y.new_empty(*y.shape[:-1], 2 * width)  # affinity ; own
        through_relu(grad_y, added_y, context.scales[1], out=grad_projected_y[..., width:])
        fused_y = grad_projected_y[..., width:]  # (N, Q, d)

        grad_both_x = product(fused_x, packed.fuse_x)  # (N, P, 2d)
        attended = grad_both_x[..., width:]
        grad_over_y = attended @ torch.cat([packed.memory_y.expand(len(y), -1, -1), y], dim=1).transpose(1, 2)
        grad_memory_y = mean_over_y[..., :num_slots].flatten(0, 1).T @ attended.flatten(0, 1)  # (M, d)
        grad_values = mean_over_x @ fused_y  # (N, M + P, d)
        grad_over_x = (fused_y @ values.transpose(1, 2)).transpose(1, 2)  # (N, M + P, Q); a transposed slice is copied
        affinity = affinity_gradient(over_y, over_x, grad_over_y, grad_over_x, head_width=width // num_maps)
        affinity = affinity.to(y.dtype)  # (N * H, M + P, M + Q)

        grad_slots_x = y.new_empty(num_slots, 2 * width)
        grad_slots_y = y.new_zeros(num_slots, 2 * width)
        from_heads(affinity @ heads_y, num_maps, grad_slots_x[:, :width], grad_projected_x[..., :width])
        from_heads(affinity.transpose(1, 2) @ heads_x, num_maps, grad_slots_y[:, :width], grad_projected_y[..., :width])
        grad_projected_x[..., width:] = grad_values[:, num_slots:]
        torch.sum(grad_values[:, :num_slots], dim=0, out=grad_slots_x[:, width:])

        x = both_x[..., :width]
        grad_x = grad_x + grad_both_x[..., :width]
        grad_x += product(grad_projected_x, packed.project_x)
        grad_y = torch.baddbmm(grad_y, mean_over_y[..., num_slots:].transpose(1, 2), attended)
        grad_y += product(grad_projected_y, packed.project_y)

        grad_project_x = weight_gradient(grad_projected_x, x).addmm_(grad_slots_x.T, packed.memory_x)  # (2d, d)
        grad_project_y = weight_gradient(grad_projected_y, y).addmm_(grad_slots_y.T, packed.memory_y)
        grad_memory_x = product(grad_slots_x, packed.project_x)
        grad_memory_y = product(grad_slots_y, packed.project_y).add_(grad_memory_y)
        results = (
            grad_x,
            grad_y,
            grad_project_x[:width],
            grad_project_y[:width],
            grad_memory_x,
            grad_memory_y,
            weight_gradient(fused_x, both_x),
            [grad_project_y[width:], grad_project_x[width:]],
            fused_x.sum(dim=(0, 1)),
            fused_y.sum(dim=(0, 1)),
        )
        return None, None, None, *(cast(item, dtype) for item, dtype in zip(results, context.dtypes, strict=True))


def by_head(slots: Tensor, sequence: Tensor, num_maps: int) -> Tensor:
    """slots (M, d) in front of sequence (N, P, d), cut into maps -> (N * H, M + P, d / H)."""
    num_rows, length, width = sequence.shape
    num_slots = len(slots)
    result = sequence.new_empty(num_rows, num_maps, num_slots + length, width // num_maps)
    result[:, :, :num_slots] = slots.unflatten(-1, (num_maps, -1)).transpose(0, 1)
    result[:, :, num_slots:] = sequence.unflatten(-1, (num_maps, -1)).transpose(1, 2)
    return result.flatten(0, 1)


def from_heads(gradient: Tensor, num_maps: int, slots: Tensor, sequence: Tensor) -> None:
    """The gradient of `by_head`, written into `slots` (M, d) and `sequence` (N, P, d)."""
    gradient = gradient.unflatten(0, (-1, num_maps)).transpose(1, 2)  # (N, M + P, H, d / H)
    slots.unflatten(-1, (num_maps, -1)).copy_(gradient[:, : len(slots)].sum(dim=0))
    sequence.unflatten(-1, (num_maps, -1)).copy_(gradient[:, len(slots) :])


def maps_of(heads_x: Tensor, heads_y: Tensor, biases: tuple[Tensor, Tensor], num_maps: int) -> tuple[Tensor, Tensor]:
    """Of one affinity (N, H, M + P, M + Q): over y for each position of x, and over x for each position of y."""
    affinity = at_least_float32(heads_x @ heads_y.transpose(1, 2)).mul_(heads_x.shape[-1] ** -0.5)
    affinity = affinity.unflatten(0, (-1, num_maps))
    return both_softmaxes(affinity, biases[0][:, None, :, None], biases[1][:, None, None, :])


def attend(weights: Tensor, memory: Tensor, sequence: Tensor) -> Tensor:
    """weights (N, P, M + Q) of memory (M, d) and sequence (N, Q, d) -> (N, P, d)."""
    from_memory = weights[..., : len(memory)] @ memory
    return from_memory.baddbmm_(weights[..., len(memory) :], sequence)


def through_relu(gradient: Tensor, added: Tensor, scale: float, *, out: Tensor | None = None) -> Tensor:
    """The gradient in front of ReLU and dropout: where `added`, what they let through, is above 0."""
    gradient = gradient.to(added.dtype)
    if out is None:
        out = torch.empty_like(added)
    torch.ops.aten.threshold_backward.grad_input(gradient, added, 0.0, grad_input=out)
    return out if scale == 1.0 else out.mul_(scale)


def affinity_gradient(
    over_y: Tensor, over_x: Tensor, grad_over_y: Tensor, grad_over_x: Tensor, *, head_width: int
) -> Tensor:
    """Of both softmaxes and of the mean over the maps.

    over_y, over_x (N, H, M + P, M + Q); grad_over_y (N, P, M + Q), grad_over_x (N, M + P, Q): of the means ->
    (N * H, M + P, M + Q).
    """
    num_maps, (length_x, length_y) = over_y.shape[1], over_y.shape[2:]
    scale = head_width**-0.5 / num_maps
    mean_y = over_y.new_zeros(len(over_y), 1, length_x, length_y)
    mean_x = torch.zeros_like(mean_y)
    torch.mul(grad_over_y, scale, out=mean_y[:, 0, length_x - grad_over_y.shape[1] :])
    torch.mul(grad_over_x, scale, out=mean_x[:, 0, :, length_y - grad_over_x.shape[2] :])
    result = softmax_gradient(over_y, mean_y, dim=-1)
    return result.add_(softmax_gradient(over_x, mean_x, dim=-2)).flatten(0, 1)


def softmax_gradient(weights: Tensor, gradient: Tensor, *, dim: int) -> Tensor:
    weighted = weights * gradient
    return weighted.sub_(weights * weighted.sum(dim=dim, keepdim=True))


def cast(gradient: Tensor | list[Tensor], dtype: torch.dtype) -> Tensor:
    """The gradient in its parameter's precision; a list's parts are put side by side."""
    if isinstance(gradient, Tensor):
        return gradient.to(dtype)
    width = sum(part.shape[1] for part in gradient)
    result = gradient[0].new_empty(gradient[0].shape[0], width, dtype=dtype)
    for place, part in zip(result.split([part.shape[1] for part in gradient], dim=1), gradient, strict=True):
        place.copy_(part)
    return result
