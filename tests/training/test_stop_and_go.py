"""Dynamic stop-and-go: the authors' own trace step for step, when tasks are scored, resuming without a trace."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.training.test_run import Stopped, untimed, weights
from tests.training.together import inputs, train_here
from vltool.errors import SplitError
from vltool.structures import TaskPlan
from vltool.training import checkpoint
from vltool.training.run import train
from vltool.training.run_log import read_log
from vltool.training.schedule import JointPlan
from vltool.training.stop_and_go import Plateau, StopAndGo, check_validation
from vltool.training_config import StopAndGoConfig

# One turn each of three tasks in a cycle; a pass over the data takes 4, 4 and 2 turns.
PLAN = JointPlan(
    (TaskPlan("vqa", 2, 24, 6, 90), TaskPlan("caption_retrieval", 1, 24, 4, 90), TaskPlan("grounding", 1, 24, 4, 90)),
    cycle_updates=3,
)
STEERED: dict[str, Any] = {"stop_and_go": {"gap": 3}, "learning_rate": 1e-9, "checkpoint_every": 6}
"""Nothing is learned, so that every task soon rests."""


def rests(scores: Sequence[float], **rules: float) -> list[int]:
    """The items, counted from 1, after which the task is at rest."""
    plateau, chosen = Plateau(), StopAndGoConfig(**rules)  # type: ignore[arg-type]
    found = []
    for number, score in enumerate(scores, start=1):
        plateau.take(score, chosen)
        if plateau.is_at_rest:
            found.append(number)
    return found


def test_the_authors_trace_step_for_step() -> None:
    """The inputs of tools/test_controller.py (facebookresearch/vilbert-multi-task at f22b84a) and what it prints."""
    scores = [10, 20, 30, 40, 50, 50, 50, 50, 49, 48, 50, 51, 52, 52, 52, 52, 52]
    assert rests(scores, continue_threshold=0.01) == [7, 8, 15, 16, 17]


def test_the_state_of_the_trace_worked_by_hand() -> None:
    plateau, rules = Plateau(), StopAndGoConfig(continue_threshold=0.01)
    seen = []
    for score in (50, 50, 50, 50, 49, 48, 50, 51):
        plateau.take(score, rules)
        seen.append((plateau.best, plateau.num_bad, plateau.cooldown, plateau.is_at_rest))
    assert seen == [
        (50, 0, 0, False),
        (50, 1, 0, False),
        (50, 0, 1, True),  # the second in a row without a new best
        (50, 0, 0, True),  # counts for nothing
        (50, 0, 1, False),  # below 50 * 0.99: goes
        (50, 0, 0, False),  # counts for nothing
        (50, 1, 0, False),
        (51, 0, 0, False),
    ]


def test_a_gain_of_less_than_the_threshold_is_none_and_a_small_loss_wakes_nobody() -> None:
    assert rests([50, 50.05, 50.05]) == [3]  # 50.05 is not above 50 * 1.001
    assert rests([50, 50.06, 50.06]) == []
    assert rests([50, 50, 50, 49.76, 49.74]) == [3, 4]  # 49.74 is below 50 * 0.995
    assert rests([50, 50, 50, 49.76, 49.76, 49.74, 49.74]) == [3, 4, 5, 6]  # 49.74 stops it anew before it may go
    assert rests([50, 50, 50, 60, 60]) == [3, 4, 5]  # a new best does not wake it either, as in the authors' code


def test_at_rest_a_task_takes_every_gapth_turn_and_is_scored_as_often() -> None:
    pace = StopAndGo({"a": 2}, num_turns=12, rules=StopAndGoConfig(gap=4))
    taken, scored = [], []
    for turn in range(12):
        taken.append(pace.takes_turn("a"))
        if pace.due():
            pace.take({"a": 50.0})
            scored.append(turn)
    assert scored == [1, 3, 5, 7, 9, 11]
    assert taken == [True] * 6 + [False, False, True, False, False, False]  # at rest after the third score
    assert (pace.paces["a"].turns, pace.paces["a"].made) == (12, 7)


def test_at_a_reset_all_go_again_and_forget_their_best() -> None:
    pace = StopAndGo({"a": 1}, num_turns=10, rules=StopAndGoConfig(resets=(0.5, 0.5, 0.8)))
    for turn in range(1, 11):
        pace.takes_turn("a")
        pace.take({"a": 50.0})
        assert pace.paces["a"].plateau.is_at_rest == (turn in (3, 4, 5, 8))
        assert pace.reset_if_time() == (turn in (5, 8))
    copy = StopAndGo({"a": 1}, num_turns=10, rules=pace.rules)
    copy.load(json.loads(json.dumps(pace.dump())))
    assert copy.paces == pace.paces and copy.num_resets == 3


def lines_of(folder: Path, kind: str) -> list[dict[str, Any]]:
    return [line for line in read_log(folder) if line["kind"] == kind]


def test_a_task_that_does_not_improve_trains_less(tmp_path: Path) -> None:
    turns: list[dict[str, Any]] = []
    result = train(inputs(tmp_path, **STEERED), PLAN, tmp_path / "run", report=turns.append)
    made = [line["task"] for line in turns if line["kind"] == "update"]
    assert len(made) == result.num_updates < PLAN.num_updates == 72
    # Scored after turns 2, 4, 6: at rest from the fourth pass's first turn on, then turns 6, 9, … of 24.
    assert made.count("grounding") == 6 + len(range(6, 24, 3))
    assert made.count("vqa") == 12 + len(range(12, 24, 3))
    scored = [line["cycle"] for line in lines_of(tmp_path / "run", "stop_and_go") if line["task"] == "grounding"]
    assert scored == list(range(1, 23, 2))
    saved = checkpoint.load(tmp_path / "run" / "checkpoint").run
    assert saved["num_updates"] == result.num_updates
    assert saved["stop_and_go"]["paces"]["grounding"]["turns"] == 24


def test_resuming_at_rest_gives_the_same_bits(tmp_path: Path) -> None:
    options = {**STEERED, "learning_rate": 0.003, "dropout": 0.3, "stop_and_go": {"resets": [0.6]}, "warmup": 0.2}
    options |= {"schedule": "linear", "optimizer": "adamw", "weight_decay": 0.1, "evaluate_every": 5}
    whole = train(inputs(tmp_path, **options), PLAN, tmp_path / "whole")
    assert whole.num_updates < PLAN.num_updates  # somebody did rest
    for update in (20, 45):

        def stop_at(line: dict[str, Any], update: int = update) -> None:
            if line["kind"] == "update" and line["update"] == update:
                raise Stopped

        with pytest.raises(Stopped):
            train(inputs(tmp_path, **options), PLAN, tmp_path / "parts", report=stop_at)
    parts = train(inputs(tmp_path, **options), PLAN, tmp_path / "parts")
    assert parts.val == whole.val and parts.best == whole.best
    for name in ("model", "optimizer"):
        first, second = (
            load_file(tmp_path / part / "checkpoint" / f"{name}.safetensors") for part in ("whole", "parts")
        )
        assert set(first) == set(second) and all(torch.equal(first[key], second[key]) for key in first)
    assert untimed(tmp_path / "whole") == untimed(tmp_path / "parts")


def test_a_checkpoint_from_before_turns_could_be_left_out_goes_on(tmp_path: Path) -> None:
    options = {"checkpoint_every": 8, "dropout": 0.3}
    train(inputs(tmp_path, **options), PLAN, tmp_path / "whole")

    def stop(line: dict[str, Any]) -> None:
        if line["kind"] == "update" and line["update"] == 30:
            raise Stopped

    with pytest.raises(Stopped):
        train(inputs(tmp_path, **options), PLAN, tmp_path / "parts", report=stop)
    path = tmp_path / "parts" / "checkpoint" / "run.json"
    run = json.loads(path.read_text())
    del run["stop_and_go"]
    path.write_text(json.dumps(run))
    train(inputs(tmp_path, **options), PLAN, tmp_path / "parts")
    first, second = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_parts_of_a_batch_do_not_change_who_rests(tmp_path: Path) -> None:
    """What several processes compute side by side is what one computes in parts: all see the same scores."""
    one, parts = (
        train_here(tmp_path / name, **STEERED, accumulate=number) for name, number in (("one", 1), ("parts", 2))
    )
    assert [name for name, _ in one] == [name for name, _ in parts]
    assert len(one) < 60


def test_test_data_never_steers_a_training(tmp_path: Path) -> None:
    run = inputs(tmp_path, **STEERED)
    examples = {name: dict(splits) for name, splits in run.prepared.examples.items()}
    check_validation(examples, protocol="clean")
    with pytest.raises(SplitError, match=r"under splits\.protocol off"):
        check_validation(examples, protocol="off")
    examples["vqa"]["val"] = examples["vqa"]["test"][:1]
    with pytest.raises(SplitError, match=r"1 pictures of tasks\.vqa\.val are of its test set too, first file:10"):
        train(replace(run, prepared=replace(run.prepared, examples=examples)), PLAN, tmp_path / "run")
    examples["vqa"]["val"], examples["vqa"]["test"] = examples["caption_retrieval"]["test"][:1], ()
    with pytest.raises(SplitError, match=r"tasks\.vqa\.val holds an example of tasks\.\w+\.test \(file:10"):
        check_validation(examples, protocol="clean")
    examples["vqa"]["val"] = ()
    with pytest.raises(SplitError, match=r"tasks\.vqa has no validation data"):
        check_validation(examples, protocol="clean")
