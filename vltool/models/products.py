"""The matrix products of the network where most of its time goes, by the fastest library that torch brings along.

torch multiplies float32 on a CPU with MKL, which takes its slow roads on processors of other makers than its own:
less than half of what oneDNN reaches there. In bfloat16, and on a GPU, torch's own choice is the fast one.
"""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor

from vltool.processor import has_bfloat16_units


def has_linear_pointwise() -> bool:
    """Whether torch was built with oneDNN's linear maps, which can end in something more, such as a ReLU or a sum."""
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def mkl_is_slow() -> bool:
    """Whether oneDNN multiplies float32 faster than MKL: twice as fast on AMD's processors with AVX-512."""
    if not has_linear_pointwise():
        return False
    known = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return str(known.get("cpu_name", "")).startswith("AMD") and bool(known.get("avx512_f"))


MKL_IS_SLOW = mkl_is_slow()

FUSES_BFLOAT16 = has_linear_pointwise() and has_bfloat16_units("cpu")
"""Whether bfloat16 products are oneDNN's on this processor, so that what follows one may be done in the same pass."""


def by_onednn(tensor: Tensor) -> bool:
    """Whether the products of a float32 tensor are oneDNN's here, and not MKL's."""
    return MKL_IS_SLOW and tensor.device.type == "cpu" and tensor.dtype == torch.float32


def fuses(tensor: Tensor) -> bool:
    """Whether a product of the tensor can take what follows it along: the products are oneDNN's."""
    return by_onednn(tensor) or (FUSES_BFLOAT16 and tensor.device.type == "cpu" and tensor.dtype == torch.bfloat16)


USUAL_ROWS = 2048
"""For which the order is chosen: the rows of a block of pairs, about. Products of other sizes are as right."""


def reordered(weight: Tensor) -> Tensor:
    """The weight (b, a) in the order in which bfloat16 products read it, for `linear`, `linear_relu` and `linear_plus`.

    oneDNN brings it into that order at every call otherwise, which is an eighth of a product with some 1,800 rows. The
    weight in rows where products are not oneDNN's. What comes back can be multiplied with, and nothing else.
    """
    weight = weight.contiguous()
    if weight.dtype != torch.bfloat16 or not fuses(weight) or not can_reorder():
        return weight
    result: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, USUAL_ROWS)
    return result


@functools.cache
def can_reorder() -> bool:
    """Whether this torch multiplies with a weight that it has reordered; tried, as the operations are not public."""
    ones = torch.ones(32, 32, dtype=torch.bfloat16)
    try:
        found = _onednn(ones, torch.ops.mkldnn._reorder_linear_weight(ones, USUAL_ROWS), None, "none")
    except (AttributeError, RuntimeError):
        return False
    return torch.equal(found, ones @ ones)


def linear(sequence: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """sequence (..., a), weight (b, a) -> (..., b). No gradient is recorded."""
    if weight.is_mkldnn or by_onednn(sequence):
        return _onednn(sequence, weight, bias, "none")
    return F.linear(sequence, weight, bias)


def linear_relu(sequence: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """ReLU of `linear`, in one pass where the library has it."""
    return _onednn(sequence, weight, bias, "relu") if fuses(sequence) else F.linear(sequence, weight, bias).relu_()


def linear_plus(sequence: Tensor, weight: Tensor, bias: Tensor | None, added: Tensor) -> Tensor:
    """`linear` plus `added`, which is of the result's shape; in one pass where the library has it."""
    if fuses(sequence):
        return torch.ops.mkldnn._linear_pointwise.binary(sequence, added, _dense(weight), bias, "add")
    return F.linear(sequence, weight, bias).add_(added)


def product(sequence: Tensor, weight: Tensor) -> Tensor:
    """sequence (..., b), weight (b, a) -> (..., a)."""
    return linear(sequence, weight.T) if by_onednn(sequence) else sequence @ weight


def product_into(result: Tensor, sequence: Tensor, weight: Tensor) -> None:
    """`product` of matrices, written into `result`, which may be a slice."""
    if by_onednn(sequence):
        result.copy_(product(sequence, weight))
    else:
        torch.mm(sequence, weight, out=result)


def weight_gradient(gradient: Tensor, sequence: Tensor) -> Tensor:
    """gradient (..., b) of `linear`'s result, sequence (..., a) -> (b, a)."""
    gradient, sequence = gradient.flatten(0, -2), sequence.flatten(0, -2)
    return linear(gradient.T, sequence.T) if by_onednn(gradient) else gradient.T @ sequence


def _onednn(sequence: Tensor, weight: Tensor, bias: Tensor | None, then: str) -> Tensor:
    """The operation that torch's own compiler emits for a linear map on a CPU."""
    return torch.ops.mkldnn._linear_pointwise(sequence, _dense(weight), bias, then, [], "")


def _dense(weight: Tensor) -> Tensor:
    """The weight as oneDNN wants it: a slice of a wider matrix goes through a kernel a thousand times slower."""
    return weight if weight.is_mkldnn or weight.is_contiguous() or weight.T.is_contiguous() else weight.contiguous()
