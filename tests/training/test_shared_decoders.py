"""A training whose tasks share a decoder: resumed, read again, and gone on from with decoders of their own."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.miniature import Pictures, miniature_config, miniature_corpus, miniature_prepared
from vltool.errors import CheckpointError, Interrupted
from vltool.structures import TaskPlan
from vltool.training import checkpoint
from vltool.training.combinations import list_combinations
from vltool.training.inherit import inherit_weights
from vltool.training.inputs import RunInputs
from vltool.training.run import train
from vltool.training.saved_network import network_of
from vltool.training.schedule import JointPlan
from vltool.training.scoring import load_network

PLAN = JointPlan((TaskPlan("caption_retrieval", 2, 6, 6, 8), TaskPlan("alignment", 2, 6, 6, 8)), cycle_updates=4)
SHARED = {"caption_retrieval": "matching", "alignment": "matching"}


def inputs(out: Path, decoders: dict[str, str], **training: object) -> RunInputs:
    prepared = miniature_prepared()
    config = miniature_config(str(out), **training)
    tasks = {name: replace(task, decoder=decoders.get(name, "")) for name, task in config.tasks.items()}
    config = replace(config, tasks=tasks)
    return RunInputs(config, prepared, miniature_corpus(prepared), Pictures())  # type: ignore[arg-type]


def test_it_resumes_to_the_same_bits_and_is_read_again(tmp_path: Path) -> None:
    train(inputs(tmp_path, SHARED), PLAN, tmp_path / "whole")
    count = iter(range(100))
    with pytest.raises(Interrupted):
        train(inputs(tmp_path, SHARED), PLAN, tmp_path / "stopped", stop=lambda: next(count) == 6)
    train(inputs(tmp_path, SHARED), PLAN, tmp_path / "stopped")
    whole, stopped = (checkpoint.load(tmp_path / name / "checkpoint") for name in ("whole", "stopped"))
    assert any(name.startswith("decoders.matching.") for name in whole.tensors())
    assert not any(name.startswith(("decoders.alignment.", "decoders.caption")) for name in whole.tensors())
    assert all(torch.equal(tensor, whole.tensors()[name]) for name, tensor in stopped.tensors().items())
    for model in (network_of(whole)[0], load_network(inputs(tmp_path, SHARED), whole)):
        assert model.decoder("alignment") is model.decoder("caption_retrieval")


def test_it_is_another_training_than_one_with_decoders_of_their_own(tmp_path: Path) -> None:
    train(inputs(tmp_path, SHARED), PLAN, tmp_path / "joint")
    with pytest.raises(CheckpointError, match=r"decoders.caption_retrieval"):
        train(inputs(tmp_path, {}), PLAN, tmp_path / "joint")


@pytest.mark.parametrize("decoders", [SHARED, {}, {"alignment": "other"}], ids=["shared", "own", "renamed"])
def test_a_task_that_goes_on_alone_takes_the_shared_decoder(tmp_path: Path, decoders: dict[str, str]) -> None:
    train(inputs(tmp_path, SHARED), PLAN, tmp_path / "joint")
    saved = checkpoint.load(tmp_path / "joint" / "checkpoint")
    run = inputs(tmp_path, decoders, init_from=str(saved.path))
    model = run.model({"alignment": 2}, seed=7)
    _, left = inherit_weights(run, model)
    assert not [name for name in left if name.startswith("decoders.")]
    theirs = {name: tensor for name, tensor in saved.tensors().items() if name.startswith("decoders.matching.")}
    ours = model.decoder("alignment").state_dict()
    assert theirs and all(torch.equal(ours[name.removeprefix("decoders.matching.")], t) for name, t in theirs.items())


def test_a_decoder_of_the_same_name_is_taken_by_tasks_that_are_new(tmp_path: Path) -> None:
    alone = JointPlan(PLAN.tasks[1:], 4)
    train(inputs(tmp_path, SHARED), alone, tmp_path / "first")  # pre-training: alignment alone
    run = inputs(tmp_path, SHARED, init_from=str(tmp_path / "first" / "checkpoint"))
    _, left = inherit_weights(run, run.model({"caption_retrieval": 2}, seed=7))
    assert not [name for name in left if name.startswith("decoders.")]
    run = inputs(tmp_path, {}, init_from=str(tmp_path / "first" / "checkpoint"))
    _, left = inherit_weights(run, run.model({"caption_retrieval": 2}, seed=7))
    assert [name for name in left if name.startswith("decoders.caption_retrieval.")]


def test_every_set_of_a_comparison_shares_as_the_run_does(tmp_path: Path) -> None:
    listed = list_combinations(inputs(tmp_path, SHARED).config, PLAN.tasks, seeds=(0,))
    for job in listed:
        tasks = json.loads(job.config)["tasks"]
        assert [tasks[name]["decoder"] for name in job.tasks] == ["matching"] * len(job.tasks)
