"""Whole trainings: resumed ones give the same bits, finished ones return at once, foreign ones are refused."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.miniature import Pictures, miniature_config, miniature_corpus, miniature_prepared
from vltool.config import RunConfig
from vltool.errors import CheckpointError, ConfigError, SplitError, TrainingError
from vltool.json_files import write_json
from vltool.stages.learning import train_joint
from vltool.structures import TaskPlan
from vltool.tasks.prepare import PreparedTasks
from vltool.training import checkpoint
from vltool.training.lock import only_process_in
from vltool.training.run import RunInputs, train
from vltool.training.run_log import read_log
from vltool.training.schedule import JointPlan, in_stages
from vltool.training.scoring import score_checkpoint

PLAN = JointPlan(
    (TaskPlan("vqa", 3, 12, 6, 8), TaskPlan("caption_retrieval", 2, 12, 6, 8), TaskPlan("grounding", 1, 6, 4, 8)),
    cycle_updates=6,
)


class Stopped(Exception):
    pass


def inputs(out: Path, **training: object) -> RunInputs:
    prepared = miniature_prepared()
    return RunInputs(miniature_config(str(out), **training), prepared, miniature_corpus(prepared), Pictures())  # type: ignore[arg-type]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "checkpoint" / "model.safetensors")


def untimed(folder: Path) -> list[dict[str, Any]]:
    """The log without what a clock says."""
    clocks = ("time", "examples_per_second", "waiting")
    return [{key: value for key, value in line.items() if key not in clocks} for line in read_log(folder)]


def stop_after(cycle: int) -> Any:
    def report(line: dict[str, Any]) -> None:
        if line["kind"] == "loss" and line["cycle"] == cycle + 1:
            raise Stopped

    return report


def test_resuming_gives_the_same_bits_as_not_stopping(tmp_path: Path) -> None:
    whole = train(inputs(tmp_path), PLAN, tmp_path / "whole")
    for cycle in (0, 2):
        with pytest.raises(Stopped):
            train(inputs(tmp_path), PLAN, tmp_path / "parts", report=stop_after(cycle))
    parts = train(inputs(tmp_path), PLAN, tmp_path / "parts")
    assert parts.val == whole.val
    first, second = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert untimed(tmp_path / "whole") == untimed(tmp_path / "parts")


def test_a_finished_training_returns_at_once_with_its_scores(tmp_path: Path) -> None:
    first = train(inputs(tmp_path), PLAN, tmp_path / "run")
    stamp = (tmp_path / "run" / "checkpoint" / "model.safetensors").stat().st_mtime_ns
    assert train(inputs(tmp_path), PLAN, tmp_path / "run") == first
    assert (tmp_path / "run" / "checkpoint" / "model.safetensors").stat().st_mtime_ns == stamp


def test_the_folder_of_another_training_is_refused(tmp_path: Path) -> None:
    train(inputs(tmp_path), PLAN, tmp_path / "run")
    with pytest.raises(
        CheckpointError, match=r"holds the checkpoint of another training \(its training.learning_rate differ\)"
    ):
        train(inputs(tmp_path, learning_rate=0.5), PLAN, tmp_path / "run")


def test_another_seed_or_other_validation_data_is_another_training(tmp_path: Path) -> None:
    given = inputs(tmp_path)
    train(given, PLAN, tmp_path / "run")
    with pytest.raises(CheckpointError, match=r"its seed differ"):
        train(replace(given, config=replace(given.config, seed=1)), PLAN, tmp_path / "run")
    fewer = {**given.prepared.examples, "vqa": {**given.prepared.examples["vqa"], "val": ()}}
    with pytest.raises(CheckpointError, match=r"its validated differ"):
        train(replace(given, prepared=replace(given.prepared, examples=fewer)), PLAN, tmp_path / "run")


def test_training_learns_the_miniature(tmp_path: Path) -> None:
    plan = JointPlan((TaskPlan("vqa", 1, 120, 12, 80),), cycle_updates=12)
    train(inputs(tmp_path, learning_rate=0.005), plan, tmp_path / "run")
    losses = [line["loss"] for line in read_log(tmp_path / "run") if line["kind"] == "loss"]
    assert losses[-1] < losses[0] / 2


def test_a_checkpoint_scores_and_refuses_what_trained_it(tmp_path: Path) -> None:
    run = inputs(tmp_path)
    result = train(run, PLAN, tmp_path / "run")
    path = tmp_path / "run" / "checkpoint"
    scored = score_checkpoint(run, path, split="val")
    assert {name: found.evaluation.scores for name, found in scored.items()} == result.val
    run.prepared.examples["vqa"]["test"] = run.prepared.examples["vqa"]["train"][:2]
    with pytest.raises(SplitError, match="1 pictures of vqa/test trained this checkpoint, first file:00"):
        score_checkpoint(run, path, split="test")
    with pytest.raises(ConfigError, match="has no task 'nlvr2'; it has vqa, caption_retrieval, grounding"):
        score_checkpoint(run, path, tasks=["nlvr2"])


def test_validation_scores_of_trained_pictures_are_marked_in_the_log(tmp_path: Path) -> None:
    run = inputs(tmp_path)
    run.prepared.examples["vqa"]["val"] = run.prepared.examples["vqa"]["train"][:2]
    train(run, PLAN, tmp_path / "run")
    scored = {line["task"]: line for line in read_log(tmp_path / "run") if line["kind"] == "scores"}
    assert scored["vqa"]["contaminated"] == 1
    assert "contaminated" not in scored["grounding"] and "contaminated" not in scored["caption_retrieval"]


def test_what_is_no_checkpoint_says_what_is_there(tmp_path: Path) -> None:
    def refused(path: object, *, resuming: bool = False) -> str:
        with pytest.raises(CheckpointError) as caught:
            checkpoint.load(path, resuming=resuming)  # type: ignore[arg-type]
        return str(caught.value)

    assert "not a checkpoint" in refused(tmp_path) and "nor is there one below it" in refused(tmp_path)
    assert refused(tmp_path / "none").startswith(f"{tmp_path / 'none'}: no such folder. ")
    for strange in (None, "", 5):
        assert refused(strange).startswith(f"{strange!r}: expected the folder of a checkpoint")
    for name in ("search/vqa/trial/checkpoint", "training/vqa/checkpoint", "training/joint/checkpoint"):
        (tmp_path / name).mkdir(parents=True)
        for file in ("run.json", "model.safetensors"):
            (tmp_path / name / file).touch()
    below = [tmp_path / f"{name}/checkpoint" for name in ("training/joint", "search/vqa/trial", "training/vqa")]
    assert f"Name one of those below it: {', '.join(map(str, below))}" in refused(tmp_path)
    assert refused(below[0] / "run.json").startswith(f"{below[0] / 'run.json'}: a file; ")
    (below[0] / "model.safetensors").unlink()
    assert refused(below[0]).endswith("(model.safetensors not there). Take another checkpoint")
    assert refused(below[0], resuming=True).endswith("(model.safetensors not there). " + checkpoint.GO_ON)
    (below[1] / "run.json").write_text("{")
    assert "remove" not in refused(below[1]) and refused(below[1], resuming=True).endswith(checkpoint.GO_ON)


def test_damaged_checkpoints_say_what_is_wrong(tmp_path: Path) -> None:
    train(inputs(tmp_path), PLAN, tmp_path / "run")
    folder = tmp_path / "run" / "checkpoint"
    run = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**run, "format": 99}))
    with pytest.raises(CheckpointError, match="format 99, this version reads format 1"):
        checkpoint.load(folder)
    (folder / "run.json").write_text(json.dumps({name: value for name, value in run.items() if name != "config"}))
    with pytest.raises(CheckpointError, match=r"run.json: has no config. Take another checkpoint"):
        checkpoint.load(folder)
    silent = {**run["trained_ids"], "tasks": {**run["trained_ids"]["tasks"], "vqa": {}}}
    (folder / "run.json").write_text(json.dumps({**run, "trained_ids": silent}))
    with pytest.raises(CheckpointError, match="does not say which pictures trained 'vqa'"):
        score_checkpoint(inputs(tmp_path), folder, tasks=["grounding"])
    (folder / "run.json").write_text(json.dumps(run))
    (folder / "model.safetensors").write_bytes(b"\x08")
    with pytest.raises(CheckpointError, match="cannot be read"):
        checkpoint.load(folder).load_model(torch.nn.Linear(1, 1))


def test_weights_that_do_not_fit_or_are_no_numbers_are_named(tmp_path: Path) -> None:
    model = torch.nn.Linear(2, 1)
    facts = {"config": {}, "plan": [], "trained_ids": {}, "cycle": 1, "num_updates": 1}
    checkpoint.save(tmp_path / "c", model, facts, optimizer=None)
    saved = checkpoint.Checkpoint(tmp_path / "c", facts)
    saved.load_model(model)
    for other, message in (
        (
            torch.nn.Linear(3, 1),
            r"'weight' is \(1, 2\), the model expects \(1, 3\)\. Its model.safetensors and run.json",
        ),
        (torch.nn.Linear(2, 1, bias=False), "holds 'bias' and 0 more that the model has not. Its model.safetensors"),
        (torch.nn.BatchNorm1d(2), "no parameter|'weight' is"),
    ):
        with pytest.raises(CheckpointError, match=message):
            saved.load_model(other)
    for value in (float("nan"), float("inf")):
        torch.nn.init.constant_(model.bias, value)
        checkpoint.save(tmp_path / "c", model, facts, optimizer=None)
        with pytest.raises(CheckpointError, match="c: 'bias' holds what is no finite number: the training diverged"):
            saved.load_model(torch.nn.Linear(2, 1))


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of which three of five cycles are trained."""
    out = tmp_path_factory.mktemp("stopped")
    with pytest.raises(Stopped):
        train(inputs(out, evaluate_every=1), PLAN, out / "run", report=stop_after(2))
    return out


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"cycle": -5}, r"'cycle': Input should be greater than or equal to 0 \(found -5\)"),
        ({"cycle": "three"}, r"'cycle': Input should be a valid integer \(found 'three'\)"),
        ({"cycle": 99}, "cycle 99 of 5 and the turns of stop_and_go"),
        ({"cycle": 1}, r"cycle 1 of 5 and the turns of stop_and_go \(18 of 30\) do not fit"),
        ({"num_updates": None}, "'num_updates': Input should be a valid integer"),
        ({"standing": [1]}, "'standing'"),
        ({"standing": {"foo": 1}}, "'standing.foo': Unexpected keyword argument"),
        ({"standing": {"best": {"best": {"update": 3}}}}, "'standing.best.best': must hold update and score"),
        ({"standing": {"latest_update": "x"}}, "'standing.latest_update'"),
        ({"meters": {"vqa": {"losses": "none"}}}, "'meters.vqa.losses'"),
        ({"stop_and_go": {"paces": {}}}, "'stop_and_go.num_resets'"),
        (
            {"stop_and_go": {"paces": {"vqa": {"turns": 1, "made": 3}}, "num_resets": 0}},
            "'stop_and_go.paces.vqa': made",
        ),
        ({"stop_and_go": {"paces": {}, "num_resets": 0}}, r"turns of stop_and_go \(0 of 30\) do not fit"),
        ({"plan": []}, "'plan': List should have at least 1 item"),
        ({"plan": [{"task": "vqa"}]}, "'plan.0.level'"),
        ({"identity": 3}, "'identity': Input should be a valid dictionary"),
        ({"processes": 0}, "'processes'"),
        ({"seconds": -1}, "'seconds'"),
        ({"config": "x"}, "'config': Input should be a valid dictionary"),
    ],
)
def test_a_value_of_a_checkpoint_changed_by_hand_is_named_with_its_file(
    stopped: Path, change: dict[str, Any], told: str
) -> None:
    path = stopped / "run" / "checkpoint" / "run.json"
    whole = path.read_text()
    path.write_text(json.dumps({**json.loads(whole), **change}))
    try:
        with pytest.raises(CheckpointError, match=rf"checkpoint/run\.json: .*{told}.*Take another checkpoint"):
            train(inputs(stopped, evaluate_every=1), PLAN, stopped / "run")
    finally:
        path.write_text(whole)


def test_damaged_ids_of_a_checkpoint_are_named_with_their_file(stopped: Path) -> None:
    saved = checkpoint.load(stopped / "run" / "checkpoint")
    saved.run["trained_ids"] = {"kind": "trained_ids", "tasks": 3}
    with pytest.raises(CheckpointError, match=r"run\.json: trained_ids: damaged: .*Take another checkpoint"):
        saved.trained_ids()


def test_a_save_killed_between_its_two_steps_is_recovered(tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        train(inputs(tmp_path), PLAN, tmp_path / "run", report=stop_after(0))
    folder = tmp_path / "run" / "checkpoint"
    folder.rename(folder.with_name(".checkpoint.before"))  # what such a kill leaves
    lines: list[dict[str, Any]] = []
    train(inputs(tmp_path), PLAN, tmp_path / "run", report=lines.append)
    assert lines[0]["kind"] == "resumed"


def test_a_training_whose_last_checkpoint_is_removed_goes_on_from_the_one_before(tmp_path: Path) -> None:
    first = train(inputs(tmp_path, keep_last=2), PLAN, tmp_path / "run")
    before = weights(tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoint")  # its result.json stays
    lines: list[dict[str, Any]] = []
    again = train(inputs(tmp_path, keep_last=2), PLAN, tmp_path / "run", report=lines.append)
    assert (lines[0]["kind"], lines[0]["update"]) == ("resumed", 24)
    assert again.val == first.val
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights(tmp_path / "run").items())


def test_files_of_a_checkpoint_obey_the_umask(tmp_path: Path) -> None:
    network = torch.nn.Linear(3, 3)
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    for umask, mode in ((0o022, 0o644), (0o027, 0o640)):
        before = os.umask(umask)
        try:
            checkpoint.save(tmp_path / "checkpoint", network, {"cycle": 0, "num_updates": 1}, optimizer=optimizer)
        finally:
            os.umask(before)
        modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "checkpoint").iterdir()}
        assert modes == dict.fromkeys(("model.safetensors", "optimizer.safetensors", "run.json"), mode)


def test_a_full_disk_keeps_the_checkpoint_before_and_says_so(tmp_path: Path) -> None:
    network = torch.nn.Linear(100, 100)
    folder = tmp_path / "checkpoint"
    checkpoint.save(folder, network, {"cycle": 0, "num_updates": 1}, optimizer=None)
    before = (folder / "model.safetensors").read_bytes()
    handler, limit = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limit[1]))  # a file of 40,000 bytes does not fit
        with pytest.raises(CheckpointError, match=r"cannot be written: .*Make room and run the same command again"):
            checkpoint.save(folder, network, {"cycle": 1, "num_updates": 2}, optimizer=None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
    assert (folder / "model.safetensors").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


@pytest.mark.parametrize("device", ["nowhere", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(tmp_path: Path, device: str) -> None:
    with pytest.raises(ConfigError, match=f"training.device: '{device}' cannot be used here .*Set cpu, or auto"):
        train(inputs(tmp_path, device=device), PLAN, tmp_path / "run")


def test_a_damaged_result_does_not_stop_a_training(tmp_path: Path) -> None:
    first = train(inputs(tmp_path), PLAN, tmp_path / "run")
    (tmp_path / "run" / "result.json").write_text("")
    assert train(inputs(tmp_path), PLAN, tmp_path / "run").val == first.val


def test_a_second_training_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    with only_process_in(tmp_path / "run"):
        with pytest.raises(TrainingError, match="another process is training there"):
            train(inputs(tmp_path), PLAN, tmp_path / "run")


def test_numbers_that_stop_being_finite_leave_the_last_good_checkpoint(tmp_path: Path) -> None:
    train(inputs(tmp_path), PLAN, tmp_path / "whole")
    run = inputs(tmp_path)

    def poison(line: dict[str, Any]) -> None:
        if line["kind"] == "update" and line["update"] == 14:
            for features in run.store.held.values():  # type: ignore[attr-defined]
                features.features[:] = np.nan

    with pytest.raises(TrainingError, match=r"task '\w+' is nan at update (1[4-9]|2\d) \(examples .*, …\)"):
        train(run, PLAN, tmp_path / "run", report=poison)
    saved = checkpoint.load(tmp_path / "run" / "checkpoint")
    assert saved.run["num_updates"] in (12, 18)
    assert all(bool(tensor.isfinite().all()) for tensor in saved.tensors().values())
    train(inputs(tmp_path), PLAN, tmp_path / "run")
    first, second = weights(tmp_path / "whole"), weights(tmp_path / "run")
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_in_a_curriculum_the_tasks_join_one_by_one_and_resuming_gives_the_same_bits(tmp_path: Path) -> None:
    plan = JointPlan(in_stages(tuple(replace(task, num_updates=12) for task in PLAN.tasks), True), cycle_updates=6)
    train(inputs(tmp_path), plan, tmp_path / "whole")
    with pytest.raises(Stopped):
        train(inputs(tmp_path), plan, tmp_path / "parts", report=stop_after(2))
    train(inputs(tmp_path), plan, tmp_path / "parts")
    trained = [
        {line["task"] for line in read_log(tmp_path / "whole") if line["kind"] == "loss" and line["cycle"] == cycle}
        for cycle in range(6)
    ]
    single, pair, everything = {"grounding"}, {"grounding", "caption_retrieval"}, {task.task for task in PLAN.tasks}
    assert trained == [single, single, pair, pair, everything, everything]
    first, second = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_out_of_memory_in_an_evaluation_says_what_to_lower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def evaluate(*arguments: Any, **options: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("vltool.training.inputs.evaluate", evaluate)
    with pytest.raises(TrainingError, match=r"while vqa is scored\. Lower evaluation\.batch_size \(now 256\)"):
        train(inputs(tmp_path), PLAN, tmp_path / "run")
    assert checkpoint.load(tmp_path / "run" / "checkpoint").run["num_updates"] == 30


def test_a_batch_larger_than_the_training_data_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    plan = replace(PLAN, tasks=(*PLAN.tasks[:2], replace(PLAN.tasks[2], batch_size=9)))  # of 8 captions
    told = r"plan\.json: batch_size \(task grounding\) holds 9; legal is 1 to 8, .*Lower it, or name more sources"
    with pytest.raises(ConfigError, match=told):
        train(inputs(tmp_path), plan, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_of_the_papers_trainings_the_second_is_examined_before_the_first_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prepare(config: RunConfig) -> PreparedTasks:
        prepared = miniature_prepared()
        own = prepared.examples["vqa"]
        prepared.examples["vqa"] = {**own, "train": own["train"][: 5 if config.splits.protocol == "paper-ii" else 24]}
        return prepared

    trained: list[str] = []
    monkeypatch.setattr("vltool.tasks.prepare.prepare_tasks", prepare)
    monkeypatch.setattr("vltool.stages.learning._train", lambda config, *_: trained.append(config.splits.protocol))
    config = miniature_config(str(tmp_path))
    config = replace(config, splits=replace(config.splits, protocol="paper"))
    plan = [{"task": "vqa", "level": 1, "num_updates": 6, "batch_size": 6, "step_size": 6}]
    write_json(Path(config.training.plan), {"tasks": plan})
    with pytest.raises(ConfigError, match=r"batch_size \(task vqa\) holds 6; legal is 1 to 5"):
        train_joint(config, None, tasks=["vqa"])  # type: ignore[arg-type]
    assert not trained
