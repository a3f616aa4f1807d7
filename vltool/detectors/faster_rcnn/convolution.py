"""A convolution with the fixed batch statistics of a trained network, and how the two become one.

Parameters have detectron2's names: `weight`, `bias` or `norm.weight norm.bias norm.running_mean norm.running_var`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

REORDER: Any = getattr(torch._C._nn, "mkldnn_reorder_conv2d_weight", None)
FUSED: Any = getattr(torch.ops.mkldnn, "_convolution_pointwise", None)
FUSED_SUM: Any = getattr(getattr(torch.ops.mkldnn, "_convolution_pointwise_", None), "binary", None)
EPSILON = 1e-5  # of detectron2's BatchNorm2d, SyncBatchNorm and FrozenBatchNorm2d alike


class FixedNorm(nn.Module):
    """Batch normalization by stored statistics: one scale and one shift per channel."""

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, num_channels: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.ones(num_channels))
        self.register_buffer("bias", torch.zeros(num_channels))
        self.register_buffer("running_mean", torch.zeros(num_channels))
        self.register_buffer("running_var", torch.ones(num_channels) - EPSILON)

    def forward(self, features: Tensor) -> Tensor:
        return F.batch_norm(
            features, self.running_mean, self.running_var, self.weight, self.bias, training=False, eps=EPSILON
        )

    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """(C,) float64 each: the normalization is features * scale + shift."""
        scale = self.weight.double() / torch.sqrt(self.running_var.double() + EPSILON)
        return scale, self.bias.double() - self.running_mean.double() * scale


class Convolution(nn.Conv2d):
    """A convolution, its normalization if it has one, and its ReLU if it has one.

    norm: "" means a bias instead, unless `bias` is False.
    """

    norm: FixedNorm | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        norm: str = "",
        bias: bool = True,
        relu: bool = False,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
    ) -> None:
        padding = (kernel_size // 2) * dilation
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
            bias=bias and not norm,
        )
        self.norm = FixedNorm(out_channels) if norm else None
        self.relu = relu
        self.is_packable = False
        self.packed: Tensor | None = None  # the weight in the order that the processor's kernels read

    def forward(self, features: Tensor) -> Tensor:
        fuses_relu = self.is_packable and self.relu and self.norm is None
        if self.is_packable:
            features = FUSED(features, *self.packed_for(features), "relu" if fuses_relu else "none", [], "")
        else:
            features = super().forward(features)
        if self.norm is not None:
            features = self.norm(features)
        return F.relu_(features) if self.relu and not fuses_relu else features

    def added_to(self, shortcut: Tensor, features: Tensor) -> Tensor:
        """relu(shortcut + self(features)), written over `shortcut`."""
        if self.is_packable and self.norm is None:
            return FUSED_SUM(shortcut, features, *self.packed_for(features), "add", 1.0, "relu", [], "")
        return F.relu_(shortcut.add_(self(features)))

    def packed_for(self, features: Tensor) -> tuple[Any, ...]:
        """The packed weight and what goes with it; packed when the first features are seen, whose shape matters."""
        if self.packed is None:
            # The weight itself stays: it is what a network's state is read from.
            self.packed = REORDER(
                self.weight.to_mkldnn(), self.padding, self.stride, self.dilation, self.groups, features.shape
            )
        return self.packed, self.bias, self.padding, self.stride, self.dilation, self.groups

    def fold(self) -> None:
        """Takes the normalization into weight and bias: the same function, one pass over the features fewer."""
        if self.norm is None:
            return
        scale, shift = self.norm.scale_and_shift()
        self.weight.data = (self.weight.double() * scale[:, None, None, None]).to(self.weight.dtype)
        self.bias = nn.Parameter(shift.to(self.weight.dtype), requires_grad=False)
        self.norm = None


def pack_all(network: nn.Module) -> None:
    """Lets a network's convolutions keep their weights in the processor's own order, and do what follows on the way.

    Where torch lacks these kernels (oneDNN's, which torch.compile uses; not a public interface) nothing changes.
    """
    for module in network.modules():
        if isinstance(module, Convolution) and can_pack(module.weight):
            module.is_packable = True


def can_pack(weight: Tensor) -> bool:
    if None in (REORDER, FUSED, FUSED_SUM) or weight.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    return weight.dtype == torch.float32 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def to_bfloat16(network: nn.Module) -> None:
    """Convolutions compute in bfloat16; normalizations that are not folded keep their statistics in float32."""
    for module in network.modules():
        if isinstance(module, Convolution):
            module.to(torch.bfloat16)


def fold_all(network: nn.Module) -> None:
    """Folds every normalization of a network into the convolution before it."""
    for module in network.modules():
        if isinstance(module, Convolution):
            module.fold()
