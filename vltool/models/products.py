"""The matrix products of the network where most of its time goes, by the fastest library that torch brings along.

torch multiplies float32 on a CPU with MKL, which takes its slow roads on processors of other makers than its own:
less than half of what oneDNN reaches there. In bfloat16, and on a GPU, torch's own choice is the fast one.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def mkl_is_slow() -> bool:
    """Whether oneDNN multiplies float32 faster than MKL: twice as fast on AMD's processors with AVX-512."""
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    known = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return str(known.get("cpu_name", "")).startswith("AMD") and bool(known.get("avx512_f"))


MKL_IS_SLOW = mkl_is_slow()


def by_onednn(tensor: Tensor) -> bool:
    """Whether the products of a tensor are oneDNN's here."""
    return MKL_IS_SLOW and tensor.device.type == "cpu" and tensor.dtype == torch.float32


def linear(sequence: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """sequence (..., a), weight (b, a) -> (..., b). No gradient is recorded."""
    return _onednn(sequence, weight, bias, "none") if by_onednn(sequence) else F.linear(sequence, weight, bias)


def linear_relu(sequence: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """ReLU of `linear`, in one pass where the library has it."""
    if by_onednn(sequence):
        return _onednn(sequence, weight, bias, "relu")
    return F.linear(sequence, weight, bias).relu_()


def product(sequence: Tensor, weight: Tensor) -> Tensor:
    """sequence (..., b), weight (b, a) -> (..., a)."""
    return linear(sequence, weight.T) if by_onednn(sequence) else sequence @ weight


def weight_gradient(gradient: Tensor, sequence: Tensor) -> Tensor:
    """gradient (..., b) of `linear`'s result, sequence (..., a) -> (b, a)."""
    gradient, sequence = gradient.flatten(0, -2), sequence.flatten(0, -2)
    return linear(gradient.T, sequence.T) if by_onednn(gradient) else gradient.T @ sequence


def _onednn(sequence: Tensor, weight: Tensor, bias: Tensor | None, then: str) -> Tensor:
    """The operation that torch's own compiler emits for a linear map on a CPU."""
    if not (weight.is_contiguous() or weight.T.is_contiguous()):
        weight = weight.contiguous()  # a slice of a wider matrix goes through a kernel a thousand times slower
    return torch.ops.mkldnn._linear_pointwise(sequence, weight, bias, then, [], "")
