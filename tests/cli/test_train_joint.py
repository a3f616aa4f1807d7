"""`vltool train-joint` as a user meets it: interrupted, out of numbers, in several processes, at its best."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.cli.test_commands import says, small_run, small_world, vltool
from vltool.config import load
from vltool.engines.launch import launch
from vltool.pipeline import run_pipeline
from vltool.training import checkpoint

__all__ = ["small_world"]
ROOT = Path(__file__).parents[2]
UPDATES = {"caption_retrieval": 20, "vqa": 20, "grounding": 10}


class Silent:
    def say(self, text: str) -> None: ...

    def progress(self, label: str, done: int, total: int) -> None: ...


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, small_world: Path) -> Path:
    """The configuration of a run with features, words and a plan of 48 updates in cycles of 6."""
    folder = tmp_path_factory.mktemp("prepared")
    path = small_run(folder, small_world, training={"cycle_updates": 6, "checkpoint_every": 2})
    run_pipeline(load(path), Silent(), stages=["extract-features", "embed-text"])
    plan = [
        {"task": name, "level": 1, "num_updates": count, "batch_size": 4, "step_size": 200}
        for name, count in UPDATES.items()
    ]
    (folder / "run" / "plan.json").write_text(json.dumps({"tasks": plan}))
    return path


def training(prepared: Path, name: str) -> tuple[list[object], Path]:
    """Arguments of a training of its own over what is prepared, and its folder."""
    run, out = prepared.parent / "run", prepared.parent / name
    values = {"out": out, "training.plan": run / "plan.json", "features.store": run / "features.lmdb"}
    out.mkdir()
    (out / "text").symlink_to(run / "text")
    arguments: list[object] = ["train-joint", prepared]
    for key, value in values.items():
        arguments += ["--set", f"{key}={value}"]
    return arguments, out / "training" / "joint"


def scores_of(result: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert result.returncode == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_numbers_that_are_not_finite_stop_with_task_update_and_examples(prepared: Path) -> None:
    arguments, folder = training(prepared, "nan")
    result = vltool(*arguments, "--set", "training.learning_rate=1e30", "--set", "training.checkpoint_every=1")
    says(
        result, "of task '", "is nan at update ", "(examples ", "The last checkpoint is kept", "training.gradient_clip"
    )
    if (folder / "checkpoint").exists():
        assert all(
            bool(tensor.isfinite().all()) for tensor in checkpoint.load(folder / "checkpoint").tensors().values()
        )


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_ctrl_c_saves_says_how_to_go_on_and_ends_with_130(prepared: Path, processes: int) -> None:
    arguments, folder = training(prepared, f"interrupted-{processes}")
    arguments += [
        "--processes",
        processes,
        "--set",
        "training.cycle_updates=4000",
        "--set",
        "training.precision=float32",
    ]
    plan = json.loads((prepared.parent / "run" / "plan.json").read_text())
    for task in plan["tasks"]:
        task["num_updates"] *= 400
    (folder.parents[1] / "plan.json").write_text(json.dumps(plan))
    arguments += ["--set", f"training.plan={folder.parents[1] / 'plan.json'}"]
    command = [sys.executable, "-m", "vltool", *map(str, arguments)]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "training: " in line:
                break
        time.sleep(0.3)
        os.killpg(process.pid, signal.SIGINT)
        stderr = process.communicate()[1]
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    assert "stopped after update" in stderr and "Run the same command again" in stderr
    saved = checkpoint.load(folder / "checkpoint")
    assert saved.cycle == 0 and saved.run["num_updates"] > 0
    assert saved.run["processes"] == processes


@pytest.mark.slow
def test_two_processes_print_one_result(prepared: Path) -> None:
    options = [
        "--precision",
        "float32",
        "--set",
        "encoder.options.dropout=0",
        "--set",
        "encoder.options.lstm_dropout=0",
    ]
    one, two = training(prepared, "one"), training(prepared, "two")
    first = scores_of(vltool(*one[0], *options, "--json"))
    second = scores_of(vltool(*two[0], *options, "--processes", 2, "--json", cwd=ROOT))
    assert second["updates"] == first["updates"] == 48
    for name, scores in first["val"].items():
        assert second["val"][name] == pytest.approx(scores), name
    assert checkpoint.load(two[1] / "checkpoint").run["processes"] == 2


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_places_of_a_ray_cluster_print_the_result_of_processes_here(prepared: Path) -> None:
    pytest.importorskip("ray")
    options = ["--precision", "float32", "--processes", 2, "--json"]
    here, there = training(prepared, "processes"), training(prepared, "places")
    first = scores_of(vltool(*here[0], *options, cwd=ROOT))
    result = vltool(*there[0], *options, "--engine", "ray", cwd=ROOT)
    second = scores_of(result)
    assert second["updates"] == first["updates"] == 48 and second["val"] == first["val"]
    assert "48 updates in" in result.stderr
    weights = [checkpoint.load(folder / "checkpoint").tensors() for folder in (here[1], there[1])]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_the_best_weights_are_told_and_can_be_scored(prepared: Path) -> None:
    arguments, folder = training(prepared, "best")
    changes = ["--set", "training.evaluate_every=2", "--set", "training.curriculum=true"]
    found = scores_of(vltool(*arguments, *changes, "--json"))
    stages = {task["task"]: task["first_stage"] for task in checkpoint.load(folder / "checkpoint").run["plan"]}
    assert list(stages.values()) == [0, 1, 2], "all read level 1: they join in the order of the run"
    assert set(found["best"]) == {"best", *(f"best-{name}" for name in UPDATES)}
    best = found["best"]["best-vqa"]
    scored = scores_of(vltool("eval", best["checkpoint"], "--split", "val", "--task", "vqa", "--json"))
    assert scored["vqa"]["accuracy"] == best["score"]
    assert {path.name for path in folder.glob("eval*")} == {"eval-best-vqa-val.json", "eval-best-vqa-val"}


def test_an_address_without_its_engine_is_refused(prepared: Path) -> None:
    says(vltool("train-joint", prepared, "--ray-address", "head:6379"), "--ray-address goes with --engine ray")


def test_a_precision_without_its_device_is_refused_at_once(prepared: Path) -> None:
    arguments, folder = training(prepared, "half")
    result = vltool(*arguments, "--precision", "float16", "--set", "training.device=cpu")
    says(result, "precision float16 needs a GPU, the device is cpu. Choose bfloat16, float32 or auto")
    assert not (folder / "log.jsonl").exists()


def test_a_batch_larger_than_the_data_is_refused_before_anything_is_trained(prepared: Path) -> None:
    arguments, folder = training(prepared, "large")
    plan = json.loads((prepared.parent / "run" / "plan.json").read_text())
    plan["tasks"][1]["batch_size"] = 1000
    path = folder.parents[1] / "plan.json"
    path.write_text(json.dumps(plan))
    arguments += ["--set", f"training.plan={path}"]
    told = (f"{path}: batch_size (task vqa) holds 1000; legal is 1 to ", "name more sources in tasks.vqa.train")
    says(vltool(*arguments), *told)
    assert not folder.exists()
    combined = ["run", *arguments[1:], "--set", "stages=[train-combinations]"]
    says(vltool(*combined), *told)
    assert not (folder.parents[1] / "combinations").exists()


def test_processes_that_torchrun_started_share_an_evaluation(prepared: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments, folder = training(prepared, "scored")
    scores_of(vltool(*arguments, "--precision", "float32", "--json"))
    command = ["eval", folder / "checkpoint", "--split", "val", "--json"]
    alone = scores_of(vltool(*command))
    capfd.readouterr()
    ended = launch([sys.executable, "-m", "vltool", *map(str, command)], 2)
    assert ended.code == 0, ended.message
    together = json.loads(capfd.readouterr().out)
    for name in UPDATES:
        assert together[name] == pytest.approx(alone[name])
    assert together["ignorance"] == alone["ignorance"]
    assert together["files"] == alone["files"]
    assert not list((folder / "eval-val").glob("*-parts"))


def test_what_one_process_does_is_refused_to_several(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "1", "WORLD_SIZE": "4", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}.items():
        monkeypatch.setenv(name, value)
    for command, instead in (("run", "train-joint and eval alone"), ("search-layers", "--jobs N"), ("embed-text", "")):
        told = f"4 processes were started (WORLD_SIZE), and vltool {command} is the work of one"
        says(vltool(command, prepared), told, "Start it once, without torchrun", instead)
    says(
        vltool("extract-features", prepared.parent, "--out", prepared.parent / "no.lmdb"), "--workers N or --engine ray"
    )
    assert not (prepared.parent / "no.lmdb").exists()
    monkeypatch.setenv("WORLD_SIZE", "two")
    says(vltool("train-joint", prepared), "WORLD_SIZE is 'two' in the environment; legal is 1 or more")
