"""A linear map by either library gives the same numbers, forwards and backwards."""

from __future__ import annotations

import pytest
import torch

from vltool.models import products
from vltool.models.linear import Linear


@pytest.mark.parametrize("shape", [(5, 8), (3, 4, 8), (2, 3, 4, 8)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch was built without oneDNN")
def test_onednn_gives_torch_s_result_and_gradients(
    shape: tuple[int, ...], bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    linear = Linear(8, 6, bias=bias)
    features = torch.randn(shape)
    found = []
    for by_onednn in (True, False):
        monkeypatch.setattr(products, "MKL_IS_SLOW", by_onednn)
        given = features.clone().requires_grad_()
        result = linear(given)
        assert ("_Products" in type(result.grad_fn).__name__) is by_onednn
        found.append([result, *torch.autograd.grad(result.sin().sum(), [given, *linear.parameters()])])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_other_formats_are_torch_s_own() -> None:
    linear = Linear(8, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert linear(torch.randn(3, 8)).dtype == torch.bfloat16
    assert linear.double()(torch.randn(3, 8, dtype=torch.float64)).dtype == torch.float64
