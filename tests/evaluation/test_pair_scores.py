"""Scores of all pairs against scoring each pair through the whole model."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.models.decoders_of import matching
from vltool.errors import ConfigError
from vltool.evaluation import pair_inputs, pair_scores
from vltool.evaluation.pair_scorer import pair_blocks
from vltool.evaluation.pair_scores import best_pairs, score_all_pairs
from vltool.models.decoders.matching import MatchingDecoder
from vltool.models.dense_coattention import DenseCoattentionEncoder
from vltool.models.encoder import Encoder
from vltool.models.joint_model import JointModel
from vltool.models.vilbert.encoder import VilbertEncoder
from vltool.structures import Batch

NUM_IMAGES, NUM_SENTENCES = 7, 11


class PlainEncoder(DenseCoattentionEncoder):
    """The same network without shared projections: what the base class does for any encoder."""

    prepare_images = Encoder.prepare_images
    prepare_sentences = Encoder.prepare_sentences
    pair_states = Encoder.pair_states


def make_model(kind: type[DenseCoattentionEncoder] = DenseCoattentionEncoder) -> JointModel:
    torch.manual_seed(0)
    encoder = kind(torch.randn(30, 6), 10, width=16, num_levels=3, lstm_width=8)
    return JointModel(encoder, {"retrieval": matching(16, 16)}, {"retrieval": 3})


def make_vilbert() -> JointModel:
    torch.manual_seed(0)
    sizes = {f"{side}_{name}": size for side in ("text", "image") for name, size in SIZES.items()}
    encoder = VilbertEncoder(
        torch.empty(30, 0),
        10,
        **sizes,  # type: ignore[arg-type]
        connection_width=16,
        connection_heads=2,
        text_connections=(1, 2, 3),
        image_connections=(0, 1, 2),
        initial_deviation=0.3,
    )
    summary = encoder.build_summary()
    return JointModel(
        encoder, {"retrieval": MatchingDecoder(summary, encoder.build_comparison(summary))}, {"retrieval": 3}
    )


SIZES = {"width": 16, "layers": 4, "heads": 2, "hidden_width": 24}
MAKE = {
    "shared first level": lambda: make_model(DenseCoattentionEncoder),
    "nothing shared": lambda: make_model(PlainEncoder),
    "vilbert": make_vilbert,
}


@pytest.fixture(scope="module")
def inputs() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    num_regions = torch.randint(1, 6, (NUM_IMAGES, 1), generator=generator)
    num_words = torch.randint(1, 9, (NUM_SENTENCES, 1), generator=generator)
    return {
        "regions": torch.randn(NUM_IMAGES, 5, 10, generator=generator),
        "region_mask": torch.arange(5) < num_regions,
        "boxes": torch.rand(NUM_IMAGES, 5, 5, generator=generator),
        "tokens": torch.randint(1, 30, (NUM_SENTENCES, 8), generator=generator),
        "token_mask": torch.arange(8) < num_words,
    }


@torch.no_grad()
def pair_by_pair(model: JointModel, inputs: dict[str, Tensor]) -> np.ndarray:
    """Every pair alone, without padding, through the whole model."""
    model.eval()
    scores = np.empty((NUM_IMAGES, NUM_SENTENCES), np.float32)
    for image, sentence in np.ndindex(*scores.shape):
        regions, words = inputs["region_mask"][image].sum(), inputs["token_mask"][sentence].sum()
        batch = Batch(
            regions=inputs["regions"][[image], :regions],
            region_mask=inputs["region_mask"][[image], :regions],
            boxes=inputs["boxes"][[image], :regions],
            tokens=inputs["tokens"][[sentence], :words],
            token_mask=inputs["token_mask"][[sentence], :words],
            rows=torch.tensor([[0, 0]]),
            example_ids=("pair",),
            image_ids=(),
        )
        scores[image, sentence] = model.logits("retrieval", batch)
    return scores


@pytest.mark.parametrize("kind", MAKE)
@pytest.mark.parametrize("block_pairs", [None, 1, 4, 11, 30])
def test_blocks_give_the_scores_of_single_pairs(inputs: dict[str, Tensor], kind: str, block_pairs: int | None) -> None:
    model = MAKE[kind]()
    scores = score_all_pairs(model, "retrieval", **inputs, device="cpu", precision="float32", block_pairs=block_pairs)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, pair_by_pair(model, inputs), rtol=0, atol=1e-5)


def test_images_are_prepared_once_and_few_are_held(inputs: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    model, prepared = make_model(), []
    inner = model.encoder.prepare_images
    monkeypatch.setattr(pair_inputs, "IMAGES_IN_TILE", 3)
    monkeypatch.setattr(model.encoder, "prepare_images", lambda *given: prepared.append(len(given[0])) or inner(*given))
    scores = score_all_pairs(model, "retrieval", **inputs, device="cpu", precision="float32", block_pairs=4)
    assert prepared == [3, 3, 1]
    np.testing.assert_allclose(scores, pair_by_pair(model, inputs), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["shared first level", "vilbert"])
def test_bfloat16_is_close_and_its_best_are_exact(inputs: dict[str, Tensor], kind: str) -> None:
    model = MAKE[kind]()
    exact = pair_by_pair(model, inputs)
    rough = score_all_pairs(model, "retrieval", **inputs, device="cpu", precision="bfloat16", num_exact=0)
    assert 0 < np.abs(rough - exact).max() < 0.1 * exact.std()
    mixed = score_all_pairs(model, "retrieval", **inputs, device="cpu", precision="bfloat16", num_exact=2)
    again = np.zeros(rough.shape, bool)
    again.flat[best_pairs(rough, 2)] = True
    np.testing.assert_allclose(mixed[again], exact[again], rtol=0, atol=1e-5)
    assert (mixed[~again] == rough[~again]).all()


@pytest.mark.parametrize("at_once", [1, 5, 4_000_000])
def test_best_pairs_are_those_of_either_direction(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair_scores, "SCORES_AT_ONCE", at_once)
    scores = np.array([[9, 1, 2, 3], [8, 4, 0, 1], [7, 6, 5, 2]])
    assert best_pairs(scores, 1).tolist() == [0, 3, 4, 8, 9, 10]
    assert best_pairs(scores, 9).tolist() == list(range(12))


def test_best_pairs_are_found_in_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair_scores, "SCORES_AT_ONCE", 50_000)
    scores = np.random.default_rng(0).random((1500, 3000)).astype(np.float32)
    tracemalloc.start()
    best_pairs(scores, 5)
    assert tracemalloc.get_traced_memory()[1] < scores.nbytes / 4
    tracemalloc.stop()


def test_the_model_keeps_its_mode_and_progress_reaches_the_end(inputs: dict[str, Tensor]) -> None:
    model, seen = make_model().train(), []
    score_all_pairs(
        model,
        "retrieval",
        **inputs,
        device="cpu",
        block_pairs=20,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert model.training and model.encoder.training
    assert seen == sorted(seen) and seen[-1][0] == seen[-1][1] >= 77


def test_an_unknown_task_is_refused(inputs: dict[str, Tensor]) -> None:
    with pytest.raises(ConfigError, match="It has: retrieval"):
        score_all_pairs(make_model(), "vqa", **inputs, device="cpu")


@pytest.mark.parametrize("block_pairs", [1, 3, 5, 12, 1000])
def test_blocks_cover_every_pair_once(block_pairs: int) -> None:
    count = np.zeros((4, 5), int)
    for image_block, sentence_block in pair_blocks(4, 5, block_pairs):
        count[image_block, sentence_block] += 1
        assert count[image_block, sentence_block].size <= block_pairs
    assert (count == 1).all()
