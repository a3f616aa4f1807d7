"""A convolution with the fixed batch statistics of a trained network, and how the two become one.

Parameters have detectron2's names: `weight`, `bias` or `norm.weight norm.bias norm.running_mean norm.running_var`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

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
    """A convolution, its normalization if it has one, and its ReLU if it has one. `norm` "" means a bias instead."""

    norm: FixedNorm | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        norm: str = "",
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
            bias=not norm,
        )
        self.norm = FixedNorm(out_channels) if norm else None
        self.relu = relu

    def forward(self, features: Tensor) -> Tensor:
        features = super().forward(features)
        if self.norm is not None:
            features = self.norm(features)
        return F.relu_(features) if self.relu else features

    def fold(self) -> None:
        """Takes the normalization into weight and bias: the same function, one pass over the features fewer."""
        if self.norm is None:
            return
        scale, shift = self.norm.scale_and_shift()
        self.weight.data = (self.weight.double() * scale[:, None, None, None]).to(self.weight.dtype)
        self.bias = nn.Parameter(shift.to(self.weight.dtype), requires_grad=False)
        self.norm = None


def fold_all(network: nn.Module) -> None:
    """Folds every normalization of a network into the convolution before it."""
    for module in network.modules():
        if isinstance(module, Convolution):
            module.fold()
