"""A linear map by either library gives the same numbers, forwards and backwards."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

from vltool.models import products
from vltool.models.derived import unchanged
from vltool.models.linear import Linear, LinearRelu


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_follows_a_product_is_the_same_in_one_pass(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    if not torch.backends.mkldnn.is_available() or not (dtype == torch.float32 or products.FUSES_BFLOAT16):
        pytest.skip("oneDNN, or this processor, does not multiply in this format")
    torch.manual_seed(0)
    sequence, added = torch.randn(2, 5, 8).to(dtype), torch.randn(2, 5, 6).to(dtype)
    weight, bias = torch.randn(6, 16).to(dtype)[:, :8], torch.randn(6).to(dtype)
    plain = sequence.double() @ weight.double().T
    close = {"rtol": 2e-2 if dtype == torch.bfloat16 else 1e-5, "atol": 3e-2 if dtype == torch.bfloat16 else 1e-5}
    for at_once in (True, False):
        monkeypatch.setattr(products, "MKL_IS_SLOW", at_once)
        monkeypatch.setattr(products, "FUSES_BFLOAT16", at_once)
        before = added.clone()
        for found, exact in (
            (products.linear_plus(sequence, weight, None, added), plain + added.double()),
            (products.linear_plus(sequence, weight, bias, added), plain + added.double() + bias.double()),
            (products.linear_relu(sequence, weight, bias), (plain + bias.double()).relu()),
        ):
            assert found.dtype == dtype and torch.equal(added, before)
            torch.testing.assert_close(found.double(), exact, **close)


@pytest.mark.skipif(not products.FUSES_BFLOAT16, reason="bfloat16 products are not oneDNN's on this processor")
def test_a_reordered_weight_gives_the_same_products() -> None:
    torch.manual_seed(0)
    sequence, added, bias = (torch.randn(shape).bfloat16() for shape in ((3, 5, 64), (3, 5, 48), (48,)))
    for weight in (torch.randn(48, 64).bfloat16(), torch.randn(48, 128).bfloat16()[:, 64:]):
        kept = products.reordered(weight)
        assert kept is not weight
        for found, expected in (
            (products.linear(sequence, kept), products.linear(sequence, weight)),
            (products.linear(sequence, kept, bias), products.linear(sequence, weight, bias)),
            (products.linear_relu(sequence, kept, bias), products.linear_relu(sequence, weight, bias)),
            (products.linear_plus(sequence, kept, None, added), products.linear_plus(sequence, weight, None, added)),
        ):
            torch.testing.assert_close(found, expected, rtol=1e-2, atol=1e-2)
    single = torch.randn(48, 64)
    assert products.reordered(single) is single and products.reordered(single.T).is_contiguous()


def test_weights_are_reordered_for_many_calls_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    linear, features, asked = LinearRelu(8, 6), torch.randn(4, 8), []
    monkeypatch.setattr(products, "reordered", lambda weight: asked.append(1) or weight)
    with torch.no_grad():
        linear(features)
        with unchanged(linear):
            linear(features)
        assert not asked
        with unchanged(linear, for_long=True):
            linear(features), linear(features)
            assert "derived_for_long" not in copy.deepcopy(linear).__dict__
        linear(features)
    assert len(asked) == 1


def test_where_torch_cannot_reorder_weights_are_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = torch.randn(48, 64).bfloat16()
    monkeypatch.setattr(products, "FUSES_BFLOAT16", True)
    monkeypatch.setattr(products, "can_reorder", lambda: False)
    assert products.reordered(weight) is weight


def test_relu_without_a_gradient_is_the_same_and_casts_once() -> None:
    torch.manual_seed(0)
    linear, features = LinearRelu(8, 6), torch.randn(4, 8)
    expected = linear(features)
    assert expected.requires_grad
    with torch.no_grad(), unchanged(linear):
        torch.testing.assert_close(linear(features), expected.detach())
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = [linear(features) for _ in range(2)]
        assert set(linear.derived) == {torch.float32, torch.bfloat16}
        linear.derived[torch.bfloat16] = tuple(torch.zeros_like(tensor) for tensor in linear.derived[torch.bfloat16])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert not torch.equal(linear(features), rough[1])
    assert rough[0].dtype == torch.bfloat16 and torch.equal(*rough)
    torch.testing.assert_close(rough[0].float(), expected.detach(), rtol=2e-2, atol=3e-2)
    assert linear.derived is None


def test_copies_made_within_unchanged_follow_their_own_weights() -> None:
    torch.manual_seed(0)
    linear, features = LinearRelu(8, 6), torch.randn(4, 8)
    with torch.no_grad(), unchanged(linear):
        linear(features)
        copies = [copy.deepcopy(linear), pickle.loads(pickle.dumps(linear))]
        assert linear.derived
        for other in copies:
            torch.testing.assert_close(other(features), linear(features))
            other.weight.zero_()
            other.bias.fill_(2.0)
            assert other.derived is None and torch.equal(other(features), torch.full((4, 6), 2.0))


def test_other_formats_are_torch_s_own() -> None:
    linear = Linear(8, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert linear(torch.randn(3, 8)).dtype == torch.bfloat16
    assert linear.double()(torch.randn(3, 8, dtype=torch.float64)).dtype == torch.float64
