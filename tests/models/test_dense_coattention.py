"""The dense co-attention encoder as a whole."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields, replace

import pytest
import torch
import torch.nn.functional as F

from tests.models import straightforward
from vltool.errors import ConfigError
from vltool.models.dense_coattention import DenseCoattentionEncoder
from vltool.models.derived import unchanged
from vltool.models.encoder import Encoder
from vltool.structures import Batch

MakeEncoder = Callable[..., DenseCoattentionEncoder]


def test_options_are_the_constructor_s_own() -> None:
    parameters = inspect.signature(DenseCoattentionEncoder).parameters.values()
    of_constructor = {item.name: item.default for item in parameters if item.kind is inspect.Parameter.KEYWORD_ONLY}
    assert {item.name: item.default for item in fields(DenseCoattentionEncoder.Options)} == of_constructor


def test_rows_that_share_an_image_give_the_same_as_each_row_alone(make_encoder: MakeEncoder, batch: Batch) -> None:
    encoder = make_encoder()
    together = encoder(batch, level=3)
    for k, (image, sentence) in enumerate(batch.rows.tolist()):
        alone = replace(
            batch,
            regions=batch.regions[[image]],
            region_mask=batch.region_mask[[image]],
            boxes=batch.boxes[[image]],
            tokens=batch.tokens[[sentence]],
            token_mask=batch.token_mask[[sentence]],
            rows=torch.tensor([[0, 0]]),
        )
        state = encoder(alone, level=3)
        torch.testing.assert_close(state.text[0], together.text[k], rtol=0, atol=1e-12)
        torch.testing.assert_close(state.image[0], together.image[k], rtol=0, atol=1e-12)


def test_shared_projections_have_the_gradients_of_the_plain_layers(make_encoder: MakeEncoder, batch: Batch) -> None:
    encoder = make_encoder()
    parameters = [parameter for parameter in encoder.parameters() if parameter.requires_grad]
    gradients = []
    for state in (encoder(batch, level=3), Encoder.forward(encoder, batch, level=3)):
        loss = state.text[state.token_mask].sin().sum() + state.image[state.region_mask].cos().sum()
        gradients.append(torch.autograd.grad(loss, parameters))
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-12)


@pytest.mark.parametrize("num_rows", [3, 5])  # each row by itself; rows that share images, projected once
def test_encoder_is_the_straightforward_one_with_its_gradients(
    make_encoder: MakeEncoder, batch: Batch, num_rows: int
) -> None:
    encoder = make_encoder(train_word_vectors=True)
    batch = replace(batch, rows=batch.rows[:num_rows])
    parameters = [parameter for parameter in encoder.parameters() if parameter.requires_grad]
    results = []
    for state in (encoder(batch, level=3), straightforward.encode(encoder, batch, level=3)):
        text, image = state.text[state.token_mask], state.image[state.region_mask]
        gradients = torch.autograd.grad(text.sin().sum() + image.cos().sum(), parameters)
        results.append([text, image, *gradients])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


@pytest.mark.parametrize("num_rows", [2, 5])
def test_gradients_are_finite_differences(make_encoder: MakeEncoder, batch: Batch, num_rows: int) -> None:
    encoder = make_encoder(width=4, lstm_width=3, num_levels=2)
    batch = replace(batch, rows=batch.rows[:num_rows], regions=batch.regions.requires_grad_())
    names, parameters = zip(*((n, p) for n, p in encoder.named_parameters() if p.requires_grad), strict=True)

    def run(regions: torch.Tensor, *parameters: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        given = replace(batch, regions=regions)
        state = torch.func.functional_call(encoder, dict(zip(names, parameters, strict=True)), (given,), {"level": 2})
        return state.text[state.token_mask], state.image[state.region_mask]

    assert torch.autograd.gradcheck(run, (batch.regions, *parameters), fast_mode=True)


def test_rows_of_shared_sides_are_those_of_a_batch(make_encoder: MakeEncoder, batch: Batch) -> None:
    encoder = make_encoder()
    images, sentences = encoder.sides(batch)
    for rows in (batch.rows, batch.rows[:1]):
        state, expected = encoder.row_states(images, sentences, rows, level=2), encoder(batch, level=2)
        torch.testing.assert_close(state.text, expected.text[: len(rows)], rtol=0, atol=1e-12)
        torch.testing.assert_close(state.image, expected.image[: len(rows)], rtol=0, atol=1e-12)


def test_weights_are_held_within_the_context_alone(make_encoder: MakeEncoder, batch: Batch) -> None:
    encoder = make_encoder()
    before = encoder(batch, level=3).text
    with unchanged(encoder):
        assert torch.equal(encoder(batch, level=3).text, before)
        assert all(layer.derived for layer in list(encoder.levels)[1:])
    with torch.no_grad():
        encoder.levels[2].fuse_words.weight.mul_(2)
    assert not torch.equal(encoder(batch, level=3).text, before)


def test_depth_of_the_lstm_and_initialisation_are_options(make_encoder: MakeEncoder) -> None:
    assert len(make_encoder(lstm_layers=3).read_sentences.lstm.forward_layers) == 3
    uniform, normal = make_encoder(width=64), make_encoder(width=64, initialization="glorot_normal")
    limit = (6 / 128) ** 0.5
    assert uniform.levels[0].affinity_words.weight.abs().max() <= limit
    assert normal.levels[0].affinity_words.weight.abs().max() > limit
    assert not torch.equal(uniform.levels[0].memory_words, normal.levels[0].memory_words)


def test_more_padding_changes_nothing(make_encoder: MakeEncoder, batch: Batch) -> None:
    encoder = make_encoder()
    padded = replace(
        batch,
        regions=F.pad(batch.regions, (0, 0, 0, 3), value=7.0),
        region_mask=F.pad(batch.region_mask, (0, 3)),
        boxes=F.pad(batch.boxes, (0, 0, 0, 3)),
        tokens=F.pad(batch.tokens, (0, 4), value=5),
        token_mask=F.pad(batch.token_mask, (0, 4)),
    )
    state, wide = encoder(batch, level=3), encoder(padded, level=3)
    torch.testing.assert_close(wide.text[:, :6][state.token_mask], state.text[state.token_mask], rtol=0, atol=1e-12)
    torch.testing.assert_close(wide.image[:, :5][state.region_mask], state.image[state.region_mask], rtol=0, atol=1e-12)


@pytest.mark.parametrize("asks_gradient", [True, False])
@pytest.mark.parametrize("masked", ["nothing", "words", "regions", "both"])
def test_paired_states_are_the_rows_of_all_pairs(
    make_encoder: MakeEncoder, batch: Batch, asks_gradient: bool, masked: str
) -> None:
    encoder = make_encoder()
    if masked in ("nothing", "words"):
        batch = replace(batch, region_mask=torch.ones_like(batch.region_mask))
    if masked in ("nothing", "regions"):
        batch = replace(batch, token_mask=torch.ones_like(batch.token_mask), tokens=batch.tokens.clamp_min(1))
    images = encoder.prepare_images(batch.regions, batch.region_mask, batch.boxes)
    sentences = encoder.prepare_sentences(batch.tokens, batch.token_mask)
    every_row = replace(batch, rows=torch.cartesian_prod(torch.arange(3), torch.arange(4)))
    for level in (1, 3):
        with torch.set_grad_enabled(asks_gradient):
            paired = encoder.pair_states(images, sentences, level=level)
        expected = encoder(every_row, level=level)
        for name, tensor in vars(expected).items():
            torch.testing.assert_close(getattr(paired, name), tensor, rtol=0, atol=1e-12)


def test_attention_maps_are_those_of_the_level(make_encoder: MakeEncoder, batch: Batch) -> None:
    encoder = make_encoder()
    first, third = encoder.attention_maps(batch, 1), encoder.attention_maps(batch, 3)
    assert first.words_over_regions.shape == third.words_over_regions.shape == (5, 2, 6, 5)
    assert third.regions_over_words.shape == (5, 2, 5, 6)
    expected = encoder.levels[2].attention(encoder(batch, level=2))
    torch.testing.assert_close(third, expected)
    with pytest.raises(ConfigError, match="from 1 to 3"):
        encoder.attention_maps(batch, 0)


def test_regions_are_normalised_unless_told_not_to(make_encoder: MakeEncoder, batch: Batch) -> None:
    inputs = batch.regions, batch.region_mask, batch.boxes
    lengths = make_encoder().embed_images(*inputs).norm(dim=-1)
    torch.testing.assert_close(lengths, torch.ones_like(lengths))
    plain = make_encoder(normalize_regions=False)
    torch.testing.assert_close(plain.embed_images(*inputs), plain.project_regions(batch.regions))


def test_positions_join_the_regions_only_when_asked(make_encoder: MakeEncoder, batch: Batch) -> None:
    moved = 1 - batch.boxes
    for positions in (False, True):
        encoder = make_encoder(region_positions=positions)
        here = encoder.embed_images(batch.regions, batch.region_mask, batch.boxes)
        there = encoder.embed_images(batch.regions, batch.region_mask, moved)
        assert torch.equal(here, there) is not positions


def test_half_precision_features_are_taken_as_they_are(make_encoder: MakeEncoder, batch: Batch) -> None:
    encoder = make_encoder().float()
    state = encoder(replace(batch, regions=batch.regions.half(), boxes=batch.boxes.float()), level=1)
    assert state.image.dtype == torch.float32


def test_word_vectors_are_frozen_unless_trained(make_encoder: MakeEncoder) -> None:
    for train in (False, True):
        assert make_encoder(train_word_vectors=train).read_sentences.word_vectors.weight.requires_grad is train


def test_features_of_another_width_are_refused(make_encoder: MakeEncoder, batch: Batch) -> None:
    with pytest.raises(ConfigError, match="region features are 7 wide, the encoder was built for 10"):
        make_encoder().embed_images(batch.regions[..., :7], batch.region_mask, batch.boxes)


def test_an_encoder_without_levels_is_refused(make_encoder: MakeEncoder) -> None:
    with pytest.raises(ConfigError, match="num_levels is 0: an encoder needs at least 1"):
        make_encoder(num_levels=0)


def test_bfloat16_is_close_to_float32(make_encoder: MakeEncoder, batch: Batch) -> None:
    encoder = make_encoder().float()
    with torch.no_grad():
        exact = encoder(batch, level=3)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = encoder(batch, level=3)
    torch.testing.assert_close(rough.text[exact.token_mask].float(), exact.text[exact.token_mask], rtol=0.05, atol=0.05)
