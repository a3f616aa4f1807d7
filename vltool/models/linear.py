"""Linear maps whose products go through the library that is fast on this processor."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from vltool.models import products
from vltool.models.derived import DerivesWeights
from vltool.models.precision import compute_dtype


class Linear(nn.Linear):
    """torch's, by oneDNN where MKL is slow (float32 on some processors); elsewhere torch's own."""

    def forward(self, features: Tensor) -> Tensor:
        plain = torch.is_autocast_enabled(features.device.type) or torch.compiler.is_compiling()
        if plain or not products.by_onednn(features) or self.weight.dtype != torch.float32:
            return super().forward(features)
        result: Tensor = _Products.apply(features, self.weight, self.bias)
        return result


class LinearRelu(nn.Linear, DerivesWeights):
    """ReLU of a linear map; without a gradient in one pass, where the library has that."""

    def forward(self, features: Tensor) -> Tensor:
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
            return F.relu(super().forward(features))
        dtype = compute_dtype(features)
        weight, bias = self.derive(dtype, lambda: self._cast(dtype))
        with torch.autocast(features.device.type, enabled=False):
            return products.linear_relu(features.to(dtype), weight, bias)

    def _cast(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        weight = self.weight.detach().to(dtype)
        return products.reordered(weight) if self.derived_for_long else weight, self.bias.detach().to(dtype)


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
