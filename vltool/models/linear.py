"""A linear map whose products go through the library that is fast on this processor, backwards too."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from vltool.models import products


class Linear(nn.Linear):
    """torch's, by oneDNN where MKL is slow (float32 on some processors); elsewhere torch's own."""

    def forward(self, features: Tensor) -> Tensor:
        plain = torch.is_autocast_enabled(features.device.type) or torch.compiler.is_compiling()
        if plain or not products.by_onednn(features) or self.weight.dtype != torch.float32:
            return super().forward(features)
        result: Tensor = _Products.apply(features, self.weight, self.bias)
        return result


class _Products(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        context.save_for_backward(features, weight)
        context.has_bias = bias is not None
        return products.linear(features, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        features, weight = context.saved_tensors
        gradient = gradient.contiguous()
        of_features, of_weight, of_bias = context.needs_input_grad
        return (
            products.product(gradient, weight) if of_features else None,
            products.weight_gradient(gradient, features) if of_weight else None,
            gradient.flatten(0, -2).sum(dim=0) if of_bias and context.has_bias else None,
        )
