"""Best on validation data, worked by hand, and the end of patience."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.training.test_run import PLAN, Stopped, inputs, stop_after, weights
from vltool.errors import ConfigError
from vltool.structures import TaskPlan
from vltool.training import checkpoint
from vltool.training.checkpoint import kept_before
from vltool.training.run import train
from vltool.training.run_log import read_log
from vltool.training.schedule import JointPlan
from vltool.training.scoring import score_checkpoint
from vltool.training.standing import Standing, geometric_mean

METRICS = {"a": "accuracy", "b": "rsum"}


def scores(a: float, b: float) -> dict[str, dict[str, float]]:
    return {"a": {"accuracy": a, "other": 1.0}, "b": {"rsum": b}}


def test_the_geometric_mean_does_not_know_the_scale_of_a_score() -> None:
    assert geometric_mean([4.0, 9.0]) == pytest.approx(6.0)
    assert geometric_mean([50, 300]) < geometric_mean([51, 300]) == pytest.approx(geometric_mean([50, 306]))
    assert geometric_mean([0.0, 10.0]) == pytest.approx(1.0)  # zero counts as 0.1


def test_each_task_and_all_together_have_their_own_best() -> None:
    standing = Standing()
    assert standing.take(10, scores(40, 100), METRICS) == ["best", "best-a", "best-b"]  # mean 63.2
    assert standing.take(20, scores(50, 75), METRICS) == ["best-a"]  # 61.2
    assert standing.take(30, scores(45, 98), METRICS) == ["best"]  # 66.4
    assert standing.take(40, scores(50, 80), METRICS) == []  # 63.2; an equal one is not better
    assert {name: found["update"] for name, found in standing.best.items()} == {"best": 30, "best-a": 20, "best-b": 10}
    assert standing.num_worse == 1
    assert Standing(**standing.dump()) == standing


def test_a_single_task_has_one_best() -> None:
    assert Standing().take(10, {"a": {"accuracy": 1.0}}, METRICS) == ["best"]


def test_evaluations_before_all_tasks_have_joined_do_not_count() -> None:
    standing = Standing()
    for update in range(3):
        standing.take(update, scores(40, 100), METRICS, patient=False)
    assert standing.num_worse == 0


def test_a_training_stops_when_patience_is_lost(tmp_path: Path) -> None:
    plan = JointPlan((TaskPlan("vqa", 1, 300, 6, 80),), cycle_updates=6)
    options = {"evaluate_every": 1, "patience": 3, "learning_rate": 1e-9}  # nothing is learned: the first is the best
    result = train(inputs(tmp_path, **options), plan, tmp_path / "run")
    assert result.num_updates == 4 * 6
    assert result.best["best"]["update"] == 6
    assert checkpoint.load(tmp_path / "run" / "best").run["num_updates"] == 6
    (tmp_path / "run" / "result.json").unlink()  # as if killed before it was written
    again = train(inputs(tmp_path, **options), plan, tmp_path / "run")
    assert (again.num_updates, again.val, again.best) == (24, result.val, result.best)
    lines = read_log(tmp_path / "run")
    assert len([line for line in lines if line["kind"] == "scores"]) == 4


def test_the_best_checkpoints_are_those_of_the_log(tmp_path: Path) -> None:
    run = inputs(tmp_path, evaluate_every=1, learning_rate=0.01)
    with pytest.raises(Stopped):
        train(run, PLAN, tmp_path / "run", report=stop_after(1))
    result = train(run, PLAN, tmp_path / "run")
    lines = [line for line in read_log(tmp_path / "run") if line["kind"] == "scores"]
    for name, metric in (("vqa", "accuracy"), ("caption_retrieval", "rsum"), ("grounding", "recall@1")):
        own: list[dict[str, Any]] = [line for line in lines if line["task"] == name]
        best = max(own, key=lambda line: line["scores"][metric])  # the first of equals
        assert result.best[f"best-{name}"] == {"update": best["update"], "score": best["scores"][metric]}
        scored = score_checkpoint(run, tmp_path / "run" / f"best-{name}", tasks=[name], split="val")
        assert scored[name].evaluation.scores == best["scores"]
    assert "best" in result.best


def test_without_val_sets_nothing_is_best(tmp_path: Path) -> None:
    run = inputs(tmp_path, evaluate_every=1, patience=1)
    for splits in run.prepared.examples.values():
        splits["val"] = ()
    object.__setattr__(run.config.splits, "protocol", "paper-ii")
    result = train(run, PLAN, tmp_path / "run")
    assert result.val == {} and result.best == {}
    assert result.num_updates == PLAN.updates_before()
    assert not list((tmp_path / "run").glob("best*"))


def test_the_last_checkpoints_are_kept(tmp_path: Path) -> None:
    train(inputs(tmp_path, keep_last=3), PLAN, tmp_path / "run")  # saves after 6, 12, 18, 24 and 30 updates
    kept = kept_before(tmp_path / "run" / "checkpoint")
    assert [path.name for path in kept] == ["checkpoint-00000018", "checkpoint-00000024"]
    assert checkpoint.load(kept[0]).run["num_updates"] == 18
    train(inputs(tmp_path / "b"), PLAN, tmp_path / "short", report=None)
    assert kept_before(tmp_path / "short" / "checkpoint") == []
    first, second = weights(tmp_path / "run"), weights(tmp_path / "short")
    assert all(torch.equal(first[key], second[key]) for key in first)
    earlier = load_file(kept[0] / "model.safetensors")
    own = next(key for key in first if key.startswith("decoders.vqa.") and key.endswith("bias"))
    assert not torch.equal(earlier[own], first[own])


def test_going_on_from_an_earlier_checkpoint_forgets_the_later_ones(tmp_path: Path) -> None:
    train(inputs(tmp_path, keep_last=3), PLAN, tmp_path / "run")
    folder = tmp_path / "run"
    (folder / "result.json").unlink()
    for name in ("checkpoint", "checkpoint-00000024"):
        (folder / name).rename(folder / f"away-{name}")
    (folder / "checkpoint-00000018").rename(folder / "checkpoint")
    train(inputs(tmp_path, keep_last=3), PLAN, folder)
    first, second = (load_file(folder / name / "model.safetensors") for name in ("checkpoint", "away-checkpoint"))
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert [path.name for path in kept_before(folder / "checkpoint")] == ["checkpoint-00000018", "checkpoint-00000024"]


def test_what_is_kept_is_not_what_a_training_is(tmp_path: Path) -> None:
    first = train(inputs(tmp_path), PLAN, tmp_path / "run")
    assert train(inputs(tmp_path, keep_last=2, checkpoint_every=3), PLAN, tmp_path / "run") == first


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patience": 2}, "patience counts evaluations, and there are none. Set training.evaluate_every"),
        ({"accumulate": 0}, "'training.accumulate': Input should be greater than or equal to 1"),
        ({"keep_last": 0}, "'training.keep_last': Input should be greater than or equal to 1"),
        ({"precision": "float16", "device": "cpu"}, "float16 needs a GPU, the device is cpu. Choose bfloat16"),
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        train(inputs(tmp_path, **options), PLAN, tmp_path / "run")
