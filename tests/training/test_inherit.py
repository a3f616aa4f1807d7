"""Starting from another training's weights: what fits is taken, and the ids of what trained them are kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.miniature import Pictures, miniature_config, miniature_corpus, miniature_prepared
from vltool.errors import CheckpointError, SplitError
from vltool.splits.trained_ids import TrainedIds
from vltool.structures import TaskPlan
from vltool.text.vocabulary import AnswerPool
from vltool.training import checkpoint
from vltool.training.inherit import inherit_weights
from vltool.training.run import RunInputs, train
from vltool.training.schedule import JointPlan

VQA = JointPlan((TaskPlan("vqa", 2, 6, 6, 8),), cycle_updates=6)
GROUNDING = JointPlan((TaskPlan("grounding", 1, 3, 4, 8),), cycle_updates=3)
ONE = JointPlan((TaskPlan("grounding", 1, 3, 1, 8),), cycle_updates=3)
"""For a training of one example."""


def inputs(out: Path, **training: object) -> RunInputs:
    prepared = miniature_prepared()
    return RunInputs(miniature_config(str(out), **training), prepared, miniature_corpus(prepared), Pictures())  # type: ignore[arg-type]


def only_train(run: RunInputs, task: str, count: int) -> RunInputs:
    examples = {name: dict(splits) for name, splits in run.prepared.examples.items()}
    examples[task]["train"] = examples[task]["train"][:count]
    return replace(run, prepared=replace(run.prepared, examples=examples))


def test_ids_are_inherited_through_two_trainings(tmp_path: Path) -> None:
    train(inputs(tmp_path), VQA, tmp_path / "first")
    first = str(tmp_path / "first" / "checkpoint")
    train(only_train(inputs(tmp_path, init_from=first), "grounding", 1), ONE, tmp_path / "second")
    second = str(tmp_path / "second" / "checkpoint")
    train(only_train(inputs(tmp_path, init_from=second), "grounding", 1), ONE, tmp_path / "third")
    found = TrainedIds.from_json(checkpoint.load(tmp_path / "third" / "checkpoint").run["trained_ids"])
    assert found.by_task["vqa"] == {f"file:{n:02}" for n in range(8)}
    assert found.by_task["grounding"] == {"file:00"}


def test_weights_that_fit_are_taken_and_the_words_stay(tmp_path: Path) -> None:
    train(inputs(tmp_path), VQA, tmp_path / "first")
    run = inputs(tmp_path, init_from=str(tmp_path / "first" / "checkpoint"))
    saved = checkpoint.load(run.config.training.init_from).tensors()
    model = run.model({"vqa": 2, "grounding": 1}, seed=7)
    words = {name: tensor.clone() for name, tensor in model.state_dict().items() if "word_vectors" in name}
    taken, left = inherit_weights(run, model)
    state = model.state_dict()
    assert taken + len(left) == len(state)
    assert all(torch.equal(state[name], saved[name]) for name in state if name not in left)
    assert all(torch.equal(state[name], tensor) for name, tensor in words.items()) and words
    assert any(name.startswith("decoders.grounding.") for name in left)
    assert not any(name.startswith("decoders.vqa.") for name in left)
    run.corpus.answers["vqa"] = AnswerPool(["other", *run.corpus.answers["vqa"].answers[1:]], forms={})
    _, left = inherit_weights(run, model)
    assert any(name.startswith("decoders.vqa.") for name in left)


def test_weights_that_saw_evaluated_pictures_are_refused(tmp_path: Path) -> None:
    train(inputs(tmp_path), VQA, tmp_path / "first")
    run = inputs(tmp_path, init_from=str(tmp_path / "first" / "checkpoint"))
    run.prepared.examples["grounding"]["test"] = run.prepared.examples["grounding"]["train"][:1]
    with pytest.raises(SplitError, match="was trained on 1 pictures of grounding/test, first file:00"):
        train(run, GROUNDING, tmp_path / "second")


def test_weights_for_other_features_are_refused(tmp_path: Path) -> None:
    train(inputs(tmp_path), VQA, tmp_path / "first")
    run = inputs(tmp_path, init_from=str(tmp_path / "first" / "checkpoint"))
    run.store.header = {**run.store.header, "fingerprint": "other"}
    with pytest.raises(CheckpointError, match="features of another detector"):
        inherit_weights(run, run.model({"vqa": 2}, seed=0))
