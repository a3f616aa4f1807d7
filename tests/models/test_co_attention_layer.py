"""A dense co-attention layer against the long way of computing it, and against finite differences."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.models import straightforward
from vltool.errors import ConfigError
from vltool.models import co_attention, co_attention_layer, products
from vltool.models.co_attention import mask_bias
from vltool.models.dense_coattention import DenseCoattentionLayer
from vltool.models.derived import unchanged
from vltool.structures import JointState


def make_layer(width: int = 8, num_maps: int = 2, slots: int = 2) -> DenseCoattentionLayer:
    torch.manual_seed(0)
    return DenseCoattentionLayer(width, num_maps=num_maps, num_memory_slots=slots).double().eval()


def widen(state: JointState, *, words: int, regions: int) -> JointState:
    """The state with more padding, of other numbers than zero."""
    pad = torch.nn.functional.pad
    return JointState(
        text=pad(state.text, (0, 0, 0, words), value=3.0),
        image=pad(state.image, (0, 0, 0, regions), value=-2.0),
        token_mask=pad(state.token_mask, (0, words)),
        region_mask=pad(state.region_mask, (0, regions)),
    )


@pytest.mark.parametrize(("num_maps", "slots"), [(1, 0), (2, 2), (4, 3), (8, 1)])
def test_layer_is_the_long_way_with_its_gradients(state: JointState, num_maps: int, slots: int) -> None:
    layer = make_layer(num_maps=num_maps, slots=slots)
    inputs = [state.text.requires_grad_(), state.image.requires_grad_(), *layer.parameters()]
    results = []
    for given in (layer(state), straightforward.layer(layer, state)):
        text, image = given.text, given.image
        loss = (text.sin() * state.token_mask[..., None]).sum() + (image.cos() * state.region_mask[..., None]).sum()
        gradients = torch.autograd.grad(loss, inputs, allow_unused=True, materialize_grads=True)
        results.append([text, image, *gradients])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


def test_the_side_that_is_projected_does_not_matter(state: JointState) -> None:
    layer = make_layer()
    one_region = replace(state, image=state.image[:, :1], region_mask=state.region_mask[:, :1])
    for given in (state, one_region):  # more regions than words, and fewer
        result, expected = layer(given), straightforward.layer(layer, given)
        torch.testing.assert_close(result.text, expected.text, rtol=0, atol=1e-12)
        torch.testing.assert_close(result.image, expected.image, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("num_words", "num_regions", "slots"), [(3, 2, 2), (2, 3, 1), (2, 2, 0)])
def test_gradients_are_finite_differences(state: JointState, num_words: int, num_regions: int, slots: int) -> None:
    layer = make_layer(width=4, slots=slots)
    text = state.text[:2, :num_words, :4].clone().requires_grad_()
    image = state.image[:2, :num_regions, :4].clone().requires_grad_()
    names = [name for name, _ in layer.named_parameters()]

    def run(text: Tensor, image: Tensor, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        given = JointState(text, image, state.token_mask[:2, :num_words], state.region_mask[:2, :num_regions])
        result = torch.func.functional_call(layer, dict(zip(names, parameters, strict=True)), (given,))
        return result.text, result.image

    assert torch.autograd.gradcheck(run, (text, image, *layer.parameters()))


def test_gradients_with_dropout_are_finite_differences(state: JointState) -> None:
    layer = make_layer(width=4).train()
    text, image = state.text[:2, :3, :4].clone().requires_grad_(), state.image[:2, :4, :4].clone().requires_grad_()

    def run(text: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        torch.manual_seed(5)
        result = layer(JointState(text, image, state.token_mask[:2, :3], state.region_mask[:2, :4]))
        return result.text, result.image

    assert torch.autograd.gradcheck(run, (text, image))


def test_float32_products_of_either_library_agree(state: JointState, monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for by_onednn in (False, True):
        monkeypatch.setattr(products, "MKL_IS_SLOW", by_onednn)
        layer = make_layer().float()
        text, image = state.text.float().requires_grad_(), state.image.float().requires_grad_()
        result = layer(JointState(text, image, state.token_mask, state.region_mask))
        loss = result.text.sin().sum() + result.image.cos().sum()
        results.append([result.text, *torch.autograd.grad(loss, [text, image, *layer.parameters()])])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_compiled_layer_is_the_layer(state: JointState) -> None:
    layer = make_layer().float()
    inputs = state.text.float().requires_grad_(), state.image.float().requires_grad_()

    def run(text: Tensor, image: Tensor) -> Tensor:
        result = layer(JointState(text, image, state.token_mask, state.region_mask))
        return result.text.sin().sum() + result.image.cos().sum()

    plain, compiled = run(*inputs), torch.compile(run, backend="aot_eager")(*inputs)
    torch.testing.assert_close(compiled, plain)
    for ours, theirs in zip(torch.autograd.grad(compiled, inputs), torch.autograd.grad(plain, inputs), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    torch.compile(run, backend="aot_eager")(*inputs)
    layer.train()
    assert torch.compile(run, backend="aot_eager")(*inputs).isfinite()


def test_unchanged_weights_are_cast_once_and_let_go(state: JointState, monkeypatch: pytest.MonkeyPatch) -> None:
    layer, packed = make_layer(), []
    pack = co_attention_layer.pack
    monkeypatch.setattr(co_attention_layer, "pack", lambda *given: packed.append(1) or pack(*given))
    expected = layer(state).text
    with unchanged(layer):
        assert torch.equal(layer(state).text, expected) and torch.equal(layer(state).text, expected)
        with torch.no_grad():
            layer(state)
    assert len(packed) == 2 and layer.derived is None


@pytest.mark.parametrize(("num_maps", "slots"), [(1, 0), (2, 2), (4, 3), (2, 16)])
@pytest.mark.parametrize("num_regions", [1, 5])  # of 4 words: either side is the shorter one
def test_without_a_gradient_the_layer_is_the_same(
    state: JointState, num_maps: int, slots: int, num_regions: int
) -> None:
    layer = make_layer(num_maps=num_maps, slots=slots)
    given = replace(state, image=state.image[:, :num_regions], region_mask=state.region_mask[:, :num_regions])
    expected, before = straightforward.layer(layer, given), (given.text.clone(), given.image.clone())
    with torch.no_grad():
        result = layer(given)
    torch.testing.assert_close(result.text, expected.text, rtol=0, atol=1e-12)
    torch.testing.assert_close(result.image, expected.image, rtol=0, atol=1e-12)
    assert torch.equal(given.text, before[0]) and torch.equal(given.image, before[1])


@pytest.mark.parametrize("mkl_is_slow", [True, False])
@pytest.mark.parametrize(("width", "slots"), [(8, 0), (8, 2), (40, 3), (64, 16)])
def test_float32_without_a_gradient_is_the_same(
    mkl_is_slow: bool, width: int, slots: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if mkl_is_slow and not products.has_linear_pointwise():
        pytest.skip("this torch has no oneDNN")
    monkeypatch.setattr(products, "MKL_IS_SLOW", mkl_is_slow)
    layer = make_layer(width=width, slots=slots)
    numbers, masks = torch.randn(3, 9, width, dtype=torch.double), torch.ones(3, 9, dtype=torch.bool)
    given = JointState(numbers[:, :4], numbers[:, 4:], masks[:, :4], masks[:, 4:])
    expected = straightforward.layer(layer, given)
    with torch.no_grad():
        result = layer.float()(replace(given, text=given.text.float(), image=given.image.float()))
    torch.testing.assert_close(result.text, expected.text.float(), rtol=0, atol=1e-5)
    torch.testing.assert_close(result.image, expected.image.float(), rtol=0, atol=1e-5)


def test_what_is_no_number_stays_none_in_bfloat16(state: JointState) -> None:
    text = state.text.float()
    text[:, 0, 0] = torch.nan
    given = replace(state, text=text, image=state.image.float())
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        result = make_layer().float()(given)
    assert result.text[:, 0].isnan().any(dim=-1).all()


@pytest.mark.parametrize("masked", ["nothing", "words", "regions"])
def test_where_nothing_is_masked_no_mask_is_added(
    state: JointState, masked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = replace(
        state,
        token_mask=state.token_mask if masked == "words" else torch.ones_like(state.token_mask),
        region_mask=state.region_mask if masked == "regions" else torch.ones_like(state.region_mask),
    )
    assert not state.token_mask.all() and not state.region_mask.all()
    layer, asked = make_layer(), []
    monkeypatch.setattr(co_attention, "mask_bias", lambda *of: asked.append(1) or mask_bias(*of))
    with torch.no_grad():
        result = layer(given)
    assert len(asked) == (masked != "nothing")
    expected = straightforward.layer(layer, given)
    torch.testing.assert_close(result.text, expected.text, rtol=0, atol=1e-12)
    torch.testing.assert_close(result.image, expected.image, rtol=0, atol=1e-12)


@pytest.mark.parametrize("asks_gradient", [True, False])
def test_no_rows_give_no_rows(state: JointState, asks_gradient: bool) -> None:
    none = JointState(state.text[:0], state.image[:0], state.token_mask[:0], state.region_mask[:0])
    with torch.set_grad_enabled(asks_gradient):
        result = make_layer()(none)
    assert result.text.shape == none.text.shape and result.image.shape == none.image.shape


def test_without_a_gradient_dropout_still_drops_in_training(state: JointState) -> None:
    layer = make_layer().train()
    with torch.no_grad():
        assert not torch.equal(layer(state).text, layer(state).text)


def test_bfloat16_without_a_gradient_is_float32_but_for_rounding(state: JointState) -> None:
    layer = make_layer().float()
    given = replace(state, text=state.text.float(), image=state.image.float())
    expected = layer(given)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        result = layer(given)
    assert result.text.dtype == result.image.dtype == torch.bfloat16
    torch.testing.assert_close(result.text.float(), expected.text, rtol=2e-2, atol=3e-2)
    torch.testing.assert_close(result.image.float(), expected.image, rtol=2e-2, atol=3e-2)
    with unchanged(layer, for_long=True), torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        for _ in range(2):  # with weights brought into the order of the products, where there is one
            kept = layer(given)
            torch.testing.assert_close(kept.text, result.text, rtol=1e-2, atol=1e-2)
            torch.testing.assert_close(kept.image, result.image, rtol=1e-2, atol=1e-2)


def test_more_padding_changes_nothing(state: JointState) -> None:
    layer = make_layer()
    result, padded = layer(state), layer(widen(state, words=3, regions=4))
    for ours, theirs, mask in (
        (padded.text[:, :4], result.text, state.token_mask),
        (padded.image[:, :5], result.image, state.region_mask),
    ):
        torch.testing.assert_close(ours[mask], theirs[mask], rtol=0, atol=1e-12)


def test_attention_and_memory_slots_sum_to_one(state: JointState) -> None:
    with_slots, without = make_layer().attention(state), make_layer(slots=0).attention(state)
    assert (with_slots.words_over_regions.sum(dim=-1) < 1).all()
    torch.testing.assert_close(without.words_over_regions.sum(dim=-1), torch.ones(3, 2, 4, dtype=torch.float64))
    torch.testing.assert_close(without.regions_over_words.sum(dim=-1), torch.ones(3, 2, 5, dtype=torch.float64))
    assert (without.words_over_regions.movedim(-1, 1)[~state.region_mask] == 0).all()


def test_an_empty_sentence_gives_finite_numbers(state: JointState) -> None:
    empty = replace(state, token_mask=torch.zeros_like(state.token_mask))
    for slots in (0, 2):
        result = make_layer(slots=slots)(empty)
        assert result.text.isfinite().all() and result.image.isfinite().all()


def test_maps_must_divide_the_width() -> None:
    with pytest.raises(ConfigError, match=r"width 10 cannot be cut into num_maps = 4 equal maps"):
        DenseCoattentionLayer(10, num_maps=4)
