"""ViLBERT's first weights: every layout that they come in, and what does not fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.models.small_vilbert import NUM_WORDS, expected, largest_difference, make, of_authors, small_batch
from vltool.errors import CheckpointError
from vltool.models.vilbert.initial_weights import take_weights
from vltool.structures import Batch


@pytest.fixture
def batch() -> Batch:
    return small_batch()


Layout = Callable[[dict[str, Tensor]], dict[str, Any]]


def text_alone(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        name: value
        for name, value in weights.items()
        if name.startswith(("bert.embeddings.", "bert.encoder.layer.")) and "task" not in name
    }


def old_spelling(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    spelled = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    return {
        name.replace("LayerNorm." + name.split(".")[-1], spelled.get(".".join(name.split(".")[-2:]), "")): value
        for name, value in weights.items()
    }


def with_extras(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        **weights,
        "bert.pooler.dense.weight": torch.zeros(12, 12),
        "bert.embeddings.position_ids": torch.arange(9)[None],
        "cls.predictions.bias": torch.zeros(NUM_WORDS),
        "cls.seq_relationship.weight": torch.zeros(2, 12),
    }


BERT_LAYOUTS: dict[str, tuple[str, Layout]] = {
    "a head on it": ("model.safetensors", lambda weights: with_extras(text_alone(weights))),
    "a head on it, as a pickle": ("pytorch_model.bin", lambda weights: with_extras(text_alone(weights))),
    "old spelling": ("pytorch_model.bin", lambda weights: old_spelling(text_alone(weights))),
    "no prefix": (
        "model.safetensors",
        lambda weights: {name.removeprefix("bert."): value for name, value in text_alone(weights).items()},
    ),
}


def save(weights: dict[str, Any], path: Path) -> Path:
    if path.suffix == ".safetensors":
        save_file({name: value.clone() for name, value in weights.items()}, path)
    else:
        torch.save(weights, path)
    return path


@pytest.mark.parametrize("layout", BERT_LAYOUTS)
def test_a_checkpoint_of_bert_gives_the_text_stream(layout: str, tmp_path: Path) -> None:
    source, encoder, untouched = make(1), make(2), make(2)
    name, arranged = BERT_LAYOUTS[layout]
    taken = take_weights(encoder, save(arranged(of_authors(source)), tmp_path / name), {})
    theirs, ours, before = (dict(part.named_parameters()) for part in (source, encoder, untouched))
    for key in ours:
        of_text = (key.startswith("read_sentences.") and "task_tokens" not in key) or "text_layers" in key
        assert torch.equal(ours[key], theirs[key] if of_text else before[key]), key
        assert (f"encoder.{key}" in taken.set) is of_text
    assert "drawn anew: encoder.read_sentences.task_tokens" in str(taken)


AUTHORS_LAYOUTS: dict[str, Layout] = {
    "as released": lambda weights: weights,
    "by several processes": lambda weights: {f"module.{name}": value for name, value in weights.items()},
    "of a trainer": lambda weights: {"model_state_dict": weights, "epoch": 3},
}


@torch.no_grad()
@pytest.mark.parametrize("layout", AUTHORS_LAYOUTS)
def test_the_authors_file_gives_both_streams_poolers_and_heads(layout: str, batch: Batch, tmp_path: Path) -> None:
    source = make(1)
    weights = of_authors(source)
    extras = {
        "vil_logit.weight": torch.randn(1, 8, dtype=torch.float64),
        "vil_logit.bias": torch.randn(1, dtype=torch.float64),
        "vision_logit.weight": torch.randn(1, 16, dtype=torch.float64),
        "vision_logit.bias": torch.randn(1, dtype=torch.float64),
        "vil_tri_prediction.weight": torch.randn(3, 8),
        "bert.encoder.c_layer.0.biOutput.q_dense1.weight": torch.randn(16, 8),
    }
    path = save(AUTHORS_LAYOUTS[layout](weights | extras), tmp_path / "multi_task_model.bin")
    for shared in (True, False):
        encoder = make(2, shared_poolers=shared)
        summary = encoder.build_summary().double()
        decoders = nn.ModuleDict(
            {"a": summary, "b": encoder.build_comparison(summary), "c": encoder.build_region_scores()}
        ).double()
        taken = take_weights(encoder, path, dict(decoders.items()))
        assert taken.drawn == () and taken.unused == ("vil_tri_prediction.weight",)
        assert largest_difference(encoder(batch, level=3), expected(source, batch, 3)) < 1e-10
        assert torch.equal(decoders["b"].logit.weight, extras["vil_logit.weight"])
        assert torch.equal(decoders["c"].logit.bias, extras["vision_logit.bias"])
        poolers = encoder.poolers or summary.poolers
        assert torch.equal(poolers.text.weight, weights["bert.t_pooler.dense.weight"])


def test_everything_that_does_not_fit_is_named_with_both_shapes(tmp_path: Path) -> None:
    weights = of_authors(make(1))
    weights["bert.embeddings.word_embeddings.weight"] = torch.zeros(31, 12)
    weights["bert.encoder.layer.5.output.dense.bias"] = torch.zeros(12)
    del weights["bert.encoder.v_layer.0.attention.self.key.bias"]
    encoder = make(2)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    with pytest.raises(CheckpointError) as refused:
        take_weights(encoder, save(weights, tmp_path / "a.bin"), {})
    text = str(refused.value)
    assert "word_embeddings.weight is (31, 12), encoder.read_sentences.word_vectors.weight (30, 12)" in text
    assert "bert.encoder.layer.5.output.dense.bias (12,) has no place here" in text
    assert (
        "bert.encoder.v_layer.0.attention.self.key.bias is missing (encoder.read_images.layers.0.project.bias)" in text
    )
    assert "text.wordpiece_vocab" in text
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such weights file"):
        take_weights(make(), tmp_path / "gone.bin", {})
    with pytest.raises(CheckpointError, match=r"no parameter of BERT or ViLBERT in it, but conv1\.weight"):
        take_weights(make(), save({"conv1.weight": torch.zeros(2)}, tmp_path / "other.bin"), {})
    with pytest.raises(CheckpointError, match="holds more than arrays"):
        take_weights(make(), save({"a": Path}, tmp_path / "code.bin"), {})
