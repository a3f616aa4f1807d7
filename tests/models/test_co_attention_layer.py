"""A dense co-attention layer against the long way of computing it, and against finite differences."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from vltool.errors import ConfigError
from vltool.models.dense_coattention import DenseCoattentionLayer
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


def attend_the_long_way(
    queries: Tensor, values: Tensor, mask: Tensor, query_map: Tensor, value_map: Tensor, slots: Tensor, num_maps: int
) -> Tensor:
    """One sequence attending to another: an affinity of its own, a weighted sum per head, then their mean."""
    everything = torch.cat([slots.expand(len(values), -1, -1), values], dim=1)
    projected_queries, projected_values = queries @ query_map.T, everything @ value_map.T
    allowed = torch.cat([torch.ones(len(values), len(slots), dtype=torch.bool), mask], dim=1)
    head_width = queries.shape[-1] // num_maps
    sums = []
    for head in range(num_maps):
        columns = slice(head * head_width, (head + 1) * head_width)
        affinity = projected_queries[..., columns] @ projected_values[..., columns].transpose(1, 2) / head_width**0.5
        sums.append(affinity.masked_fill(~allowed[:, None], -torch.inf).softmax(dim=-1) @ everything)
    return torch.stack(sums).mean(dim=0)


def the_long_way(layer: DenseCoattentionLayer, state: JointState) -> tuple[Tensor, Tensor]:
    """Eq. 1-3 as they stand: two affinities, a weighted sum per head, and a concatenation."""
    words, regions = layer.affinity_words.weight, layer.affinity_regions.weight
    text, image, maps = state.text, state.image, layer.num_maps
    to_words = attend_the_long_way(text, image, state.region_mask, words, regions, layer.memory_regions, maps)
    to_regions = attend_the_long_way(image, text, state.token_mask, regions, words, layer.memory_words, maps)
    new_text = torch.relu(layer.fuse_words(torch.cat([text, to_words], dim=-1))) + text
    new_image = torch.relu(layer.fuse_regions(torch.cat([image, to_regions], dim=-1))) + image
    return new_text, new_image


@pytest.mark.parametrize(("num_maps", "slots"), [(1, 0), (2, 2), (4, 3), (8, 1)])
def test_layer_is_the_long_way_with_its_gradients(state: JointState, num_maps: int, slots: int) -> None:
    layer = make_layer(num_maps=num_maps, slots=slots)
    inputs = [state.text.requires_grad_(), state.image.requires_grad_(), *layer.parameters()]
    results = []
    for text, image in ((layer(state).text, layer(state).image), the_long_way(layer, state)):
        loss = (text.sin() * state.token_mask[..., None]).sum() + (image.cos() * state.region_mask[..., None]).sum()
        gradients = torch.autograd.grad(loss, inputs, allow_unused=True, materialize_grads=True)
        results.append([text, image, *gradients])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


def test_the_side_that_is_projected_does_not_matter(state: JointState) -> None:
    layer = make_layer()
    one_region = replace(state, image=state.image[:, :1], region_mask=state.region_mask[:, :1])
    for given in (state, one_region):  # more regions than words, and fewer
        result, expected = layer(given), the_long_way(layer, given)
        torch.testing.assert_close((result.text, result.image), expected, rtol=0, atol=1e-12)


def test_gradients_are_finite_differences(state: JointState) -> None:
    layer = make_layer(width=4)
    text, image = state.text[:2, :3, :4].clone().requires_grad_(), state.image[:2, :2, :4].clone().requires_grad_()
    names = [name for name, _ in layer.named_parameters()]

    def run(text: Tensor, image: Tensor, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        given = JointState(text, image, state.token_mask[:2, :3], state.region_mask[:2, :2])
        result = torch.func.functional_call(layer, dict(zip(names, parameters, strict=True)), (given,))
        return result.text, result.image

    assert torch.autograd.gradcheck(run, (text, image, *layer.parameters()))


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
