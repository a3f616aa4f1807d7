"""ViLBERT against its equations as they stand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from tests.models import straightforward_vilbert as straightforward
from tests.models.small_vilbert import (
    FEATURE_DIM,
    NUM_WORDS,
    ROWS,
    SMALL,
    expected,
    largest_difference,
    make,
    of_authors,
    small_batch,
    straightforward_rows,
)
from vltool.errors import ConfigError
from vltool.models.precision import compute_in
from vltool.models.vilbert.encoder import VilbertEncoder
from vltool.models.vilbert.names import encoder_names
from vltool.structures import Batch


@pytest.fixture
def batch() -> Batch:
    return small_batch()


@torch.no_grad()
@pytest.mark.parametrize("level", [1, 2, 3])
def test_every_level_is_the_straightforward_one(batch: Batch, level: int) -> None:
    encoder = make()
    assert largest_difference(encoder(batch, level=level), expected(encoder, batch, level)) < 1e-10


@torch.no_grad()
def test_level_0_is_each_stream_alone_up_to_its_first_connection(batch: Batch) -> None:
    encoder = make()
    assert largest_difference(encoder.embed(batch), expected(encoder, batch, 0)) < 1e-10


@torch.no_grad()
@pytest.mark.parametrize("level", [1, 3])
def test_paired_states_are_the_rows_of_all_pairs(batch: Batch, level: int) -> None:
    encoder = make()
    images = encoder.prepare_images(batch.regions, batch.region_mask, batch.boxes)
    sentences = encoder.prepare_sentences(batch.tokens, batch.token_mask)
    state = encoder.pair_states(images, sentences, level=level)
    rows = torch.cartesian_prod(torch.arange(3), torch.arange(3))
    assert largest_difference(state, expected(encoder, replace(batch, rows=rows), level)) < 1e-10


@torch.no_grad()
def test_one_stream_runs_once_for_each_distinct_sentence_and_image(batch: Batch) -> None:
    encoder = make()
    rows_of: dict[str, int] = {}
    for name in ("read_sentences", "read_images", "levels.0.connection"):
        encoder.get_submodule(name).register_forward_pre_hook(
            lambda module, given, name=name: rows_of.__setitem__(name, len(getattr(given[0], "text", given[0])))
        )
    encoder(replace(batch, rows=torch.tensor(ROWS * 4)), level=1)
    assert rows_of == {"read_sentences": 3, "read_images": 3, "levels.0.connection": 20}


@torch.no_grad()
def test_a_task_token_takes_no_position_and_no_segment(batch: Batch) -> None:
    with_token, without = make(), make(num_task_tokens=0)
    without.load_state_dict({k: v for k, v in with_token.state_dict().items() if "task_tokens" not in k})
    plain = torch.cat([batch.tokens[:, :1], batch.tokens[:, 2:]], dim=1)
    for stream in (with_token.read_sentences, without.read_sentences):
        stream.layers = nn.ModuleList()
    mask = batch.token_mask
    framed = with_token.read_sentences(batch.tokens, mask)
    torch.testing.assert_close(torch.cat([framed[:, :1], framed[:, 2:]], dim=1), without.read_sentences(plain, mask))
    stream = with_token.read_sentences
    assert stream.task_tokens is not None
    torch.testing.assert_close(framed[:, 1], stream.normalize(stream.task_tokens.weight[[1, 1, 3]]))
    assert (with_token.num_leading_tokens, without.num_leading_tokens) == (2, 1)


@torch.no_grad()
def test_words_and_regions_of_a_state_are_the_batch_s_own(batch: Batch) -> None:
    state = make()(batch, level=2)
    assert torch.equal(state.words, state.text[:, 2:]) and torch.equal(state.regions, state.image[:, 1:])
    assert state.regions.shape[1] == batch.regions.shape[1]


@torch.no_grad()
def test_padding_and_company_change_nothing(batch: Batch) -> None:
    """A picture of one region and a short sentence, alone and beside larger ones, with noise in the padding."""
    encoder = make()
    alone = replace(
        batch,
        regions=batch.regions[1:2, :1],
        region_mask=batch.region_mask[1:2, :1],
        boxes=batch.boxes[1:2, :1],
        tokens=batch.tokens[1:2, :4],
        token_mask=batch.token_mask[1:2, :4],
        rows=torch.tensor([[0, 0]]),
    )
    together, single = encoder(batch, level=3), encoder(alone, level=3)
    torch.testing.assert_close(together.text[2, :4], single.text[0], rtol=0, atol=1e-12)
    torch.testing.assert_close(together.image[2, :2], single.image[0], rtol=0, atol=1e-12)


@torch.no_grad()
def test_a_picture_without_a_region_is_its_mean_region_of_zeros(batch: Batch) -> None:
    encoder = make()
    empty = replace(batch, region_mask=torch.zeros_like(batch.region_mask))
    state = encoder(empty, level=3)
    assert state.image.isfinite().all() and state.text.isfinite().all()
    assert state.region_mask.sum(dim=1).eq(1).all()


def test_gradients_are_those_of_the_straightforward(batch: Batch) -> None:
    encoder = make()
    names = encoder_names(encoder)
    state = encoder(batch, level=2)
    loss = sum(
        (
            state.text[k, : state.token_mask[k].sum()].sin().sum()
            + state.image[k, : state.region_mask[k].sum()].sin().sum()
        )
        for k in range(5)
    )
    loss.backward()  # type: ignore[union-attr]
    theirs = {name: value.requires_grad_() for name, value in of_authors(encoder).items()}
    rows = straightforward_rows(theirs, batch, 2)
    sum(text.sin().sum() + image.sin().sum() for text, image in rows).backward()  # type: ignore[union-attr]
    for name, parameter in encoder.named_parameters():
        above = name.startswith(("levels.2.", "poolers."))
        assert (parameter.grad is None) is above, name
        if not above:
            parts = [theirs[other].grad for other in names[name]]
            whole = torch.cat(
                [torch.zeros_like(theirs[o]) if g is None else g for o, g in zip(names[name], parts, strict=True)]
            )
            torch.testing.assert_close(parameter.grad, whole, rtol=1e-9, atol=1e-9, msg=name)


@torch.no_grad()
@pytest.mark.parametrize("level", [1, 3])
@pytest.mark.parametrize("shared", [True, False])
def test_heads_are_the_straightforward_ones(batch: Batch, level: int, shared: bool) -> None:
    encoder = make(shared_poolers=shared)
    summary = encoder.build_summary(dropout=0.5).double().eval()
    weights = of_authors(make(shared_poolers=True))
    poolers = encoder.poolers or summary.poolers
    for part, name in (("text", "bert.t_pooler.dense"), ("image", "bert.v_pooler.dense")):
        weights |= {f"{name}.{kind}": value for kind, value in getattr(poolers, part).named_parameters()}
    state = encoder(batch, level=level)
    text, image = summary(state)
    joined = torch.stack([straightforward.pooled(weights, *row) for row in expected(encoder, batch, level)])
    torch.testing.assert_close(summary.joined(text, image), joined, rtol=0, atol=1e-10)

    classify = encoder.build_classifier(8, 5).double().eval()
    nn.init.normal_(classify.normalize.weight)
    named = {"hidden": "logit_fc.0", "normalize": "logit_fc.2", "outputs": "logit_fc.3"}
    theirs = {f"head.{named[k.split('.')[0]]}.{k.split('.')[1]}": v for k, v in classify.named_parameters()}
    torch.testing.assert_close(classify(joined), straightforward.classify(theirs, "head", joined), rtol=0, atol=1e-10)
    assert classify.hidden.out_features == 16  # twice the poolers' width

    compare = encoder.build_comparison(summary).double().eval()
    torch.testing.assert_close(compare(text, image), compare.logit(joined)[:, 0], rtol=0, atol=1e-10)
    scores = encoder.build_region_scores().double().eval()
    torch.testing.assert_close(scores(state), scores.logit(state.image[:, 1:])[..., 0])
    assert isinstance(encoder.build_classifier(8, 3, num_layers=1), nn.Linear)


def test_fusion_by_sum() -> None:
    summary = make(fusion="sum").build_summary(dropout=0.0)
    assert summary.joined(torch.tensor([2.0]), torch.tensor([5.0])).item() == 7.0


def test_shared_poolers_are_the_encoder_s_and_own_ones_the_decoder_s() -> None:
    shared, own = make(shared_poolers=True), make(shared_poolers=False)
    assert not list(shared.build_summary().parameters()) and own.poolers is None
    assert {name.split(".")[0] for name, _ in own.build_summary().named_parameters()} == {"poolers"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"text_heads": 5}, "5 heads do not share a width of 12"),
        ({"text_connections": (1, 2)}, "as many in both streams|one place a connection"),
        ({"image_connections": (2, 1, 3)}, "layers in order, from 0 to 4"),
        ({"text_connections": (2, 3, 6)}, "from 0 to 5"),
        ({"dropout": 1.0}, "from 0 to below 1"),
    ],
)
def test_sizes_that_do_not_go_together_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        VilbertEncoder(torch.empty(NUM_WORDS, 0), FEATURE_DIM, **SMALL | options)


def test_a_sentence_longer_than_the_positions_says_what_to_set(batch: Batch) -> None:
    tokens = torch.ones(1, 11, dtype=torch.long)
    with pytest.raises(ConfigError, match=r"text\.max_tokens=7"):
        make().embed(replace(batch, tokens=tokens, token_mask=torch.ones(1, 11, dtype=torch.bool)))


def test_the_weights_of_a_new_network_come_from_a_normal_distribution() -> None:
    torch.manual_seed(0)
    encoder = VilbertEncoder(torch.empty(500, 0), FEATURE_DIM, **SMALL | {"initial_deviation": 0.02})
    assert 0.019 < encoder.read_sentences.word_vectors.weight.std().item() < 0.021
    assert not encoder.levels[0].connection.project_words.bias.any()
    assert encoder.read_images.normalize.weight.eq(1).all()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_step_in_either_precision_reaches_every_weight_it_should(batch: Batch, precision: str) -> None:
    encoder = make(dropout=0.1, attention_dropout=0.1).float().train()
    summary = encoder.build_summary()
    compare = encoder.build_comparison(summary)
    batch = replace(batch, regions=batch.regions.half(), boxes=batch.boxes.float())
    with compute_in(precision, "cpu"):
        logits = compare(*summary(encoder(batch, level=2)))
    logits.float().square().mean().backward()
    for name, parameter in encoder.named_parameters():
        reached = not name.startswith("levels.2.")
        assert (parameter.grad is not None and parameter.grad.isfinite().all().item()) is reached, name


@torch.no_grad()
def test_regions_may_be_standardised_by_the_training_pictures_statistics(batch: Batch) -> None:
    plain, standardized = make(), make(standardize_regions=True)
    assert standardized.wants_feature_statistics and not plain.wants_feature_statistics
    mean, deviation = torch.arange(10.0).double(), torch.arange(1.0, 11.0).double()
    standardized.take_feature_statistics(mean, deviation)
    expected = plain(replace(batch, regions=(batch.regions - mean) / deviation), level=1)
    torch.testing.assert_close(standardized(batch, level=1).image, expected.image)
    assert {"read_images.feature_mean", "read_images.feature_scale"} <= set(standardized.state_dict())
