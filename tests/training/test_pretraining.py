"""Pre-training on captions learns, and a task goes on from it: weights, optimizer, plan, and whose pictures trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from tests.training.test_inherit import inputs
from vltool.splits.trained_ids import TrainedIds
from vltool.structures import TaskPlan
from vltool.text.vocabulary import Vocabulary
from vltool.training import checkpoint
from vltool.training.inherit import inherit_weights
from vltool.training.run import train
from vltool.training.run_log import read_log
from vltool.training.schedule import JointPlan

KINDS = ("masked_words", "masked_regions", "alignment")
PRETRAINING = JointPlan(tuple(TaskPlan(name, 1, 60, 8, 90) for name in KINDS), cycle_updates=30)
FINE_TUNING = JointPlan((TaskPlan("vqa", 1, 4, 6, 8),), cycle_updates=4)
ADAMW = {"optimizer": "adamw", "weight_decay": 0.01, "schedule": "linear", "warmup": 0.1, "sampling": "round-robin"}


def test_all_three_learn_side_by_side_and_a_task_goes_on_from_them(tmp_path: Path) -> None:
    settings = {**ADAMW, "learning_rate": 0.01, "checkpoint_every": 10}
    result = train(inputs(tmp_path, **settings), PRETRAINING, tmp_path / "first")
    losses = {
        name: [x["loss"] for x in read_log(tmp_path / "first") if x.get("task") == name and "loss" in x]
        for name in KINDS
    }
    assert losses["masked_words"][-1] < 0.75 * losses["masked_words"][0]
    assert all(found[-1] < found[0] for found in losses.values())
    assert set(result.val) == set(KINDS) and 0 <= result.val["masked_words"]["accuracy"] <= 100
    origin = str(tmp_path / "first" / "checkpoint")
    train(inputs(tmp_path, init_from=origin), FINE_TUNING, tmp_path / "second")
    first, second = checkpoint.load(origin), checkpoint.load(tmp_path / "second" / "checkpoint")
    assert second.run["num_updates"] == 4  # its own plan, from its beginning
    assert not any(name.startswith("decoders.masked") for name in second.tensors())
    moved = (
        second.tensors()["encoder.levels.0.fuse_words.weight"] - first.tensors()["encoder.levels.0.fuse_words.weight"]
    )
    assert 0 < moved.abs().max() <= 4 * 0.001 * 1.01  # Adam anew, at this training's rate: at most so far in 4 steps
    assert set(second.trained_ids().by_task) == {"vqa", *KINDS}


def test_what_has_a_row_for_each_word_is_taken_if_the_words_are_the_same(tmp_path: Path) -> None:
    plan = JointPlan((TaskPlan("masked_words", 1, 2, 6, 8),), cycle_updates=2)
    train(inputs(tmp_path), plan, tmp_path / "first")
    run = inputs(tmp_path, init_from=str(tmp_path / "first" / "checkpoint"))
    saved = checkpoint.load(run.config.training.init_from).tensors()
    model = run.model({"masked_words": 1}, seed=7)
    _, left = inherit_weights(run, model)
    assert left == ["encoder.read_sentences.word_vectors.weight"]  # frozen ones are the run's own
    assert torch.equal(model.state_dict()["decoders.masked_words.word_bias"], saved["decoders.masked_words.word_bias"])
    others = Vocabulary([*run.corpus.words.words[3:], "another"])
    model = replace(run, corpus=replace(run.corpus, words=others)).model({"masked_words": 1}, seed=7)
    _, left = inherit_weights(replace(run, corpus=replace(run.corpus, words=others)), model)
    assert sorted(left) == ["decoders.masked_words.word_bias", "encoder.read_sentences.word_vectors.weight"]


def test_a_checkpoint_of_pretraining_knows_its_pictures(tmp_path: Path) -> None:
    plan = JointPlan((TaskPlan("alignment", 1, 2, 6, 8),), cycle_updates=2)
    train(inputs(tmp_path), plan, tmp_path / "first")
    found = TrainedIds.from_json(checkpoint.load(tmp_path / "first" / "checkpoint").run["trained_ids"])
    assert found.by_task["alignment"] == {f"file:{number:02}" for number in range(8)}
