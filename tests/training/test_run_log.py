"""The log and its curves: the same points in both, none twice after a resumption."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.training.test_run import PLAN, Stopped, inputs, stop_after
from vltool.errors import DataError
from vltool.training.run import train
from vltool.training.run_log import read_log


def points(folder: Path) -> Counter[tuple[str, int, float]]:
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    found: Counter[tuple[str, int, float]] = Counter()
    for file in (folder / "tensorboard").iterdir():
        for event in EventFileLoader(str(file)).Load():
            for value in event.summary.value:
                found[value.tag, event.step, round(value.tensor.float_val[0], 4)] += 1
    return found


def test_a_line_says_loss_rate_gradient_speed_and_waiting(tmp_path: Path) -> None:
    train(inputs(tmp_path), PLAN, tmp_path / "run")
    first = read_log(tmp_path / "run")[0]
    assert {"update": 6, "cycle": 0, "task": "vqa", "learning_rate": 0.001}.items() <= first.items()
    assert first["loss"] > 0 and first["gradient_norm"] > 0 and first["examples_per_second"] > 0
    assert 0 <= first["waiting"] <= 1


def test_resuming_doubles_no_point(tmp_path: Path) -> None:
    run = inputs(tmp_path, evaluate_every=1, checkpoint_every=2)
    train(run, PLAN, tmp_path / "whole")
    for cycle in (0, 1, 3):
        with pytest.raises(Stopped):
            train(run, PLAN, tmp_path / "parts", report=stop_after(cycle))
    train(run, PLAN, tmp_path / "parts")
    timed = ("examples_per_second", "waiting")
    whole, parts = (
        Counter({key: count for key, count in points(tmp_path / name).items() if not key[0].startswith(timed)})
        for name in ("whole", "parts")
    )
    assert whole == parts
    assert set(whole.values()) == {1}
    assert {"loss/vqa", "gradient_norm/vqa", "learning_rate/vqa", "val/caption_retrieval/rsum"} <= {
        t for t, _, _ in whole
    }


def test_curves_are_the_numbers_of_the_log(tmp_path: Path) -> None:
    train(inputs(tmp_path), PLAN, tmp_path / "run")
    drawn = points(tmp_path / "run")
    for line in read_log(tmp_path / "run"):
        if line["kind"] == "loss":
            assert drawn[f"loss/{line['task']}", line["update"], round(line["loss"], 4)] == 1


@pytest.mark.parametrize("line", ["{broken}", '{"kind": "loss"}', "\x00\x00{}"])
def test_a_line_that_is_none_of_a_log_is_named(tmp_path: Path, line: str) -> None:
    whole = '{"kind": "loss", "update": 6, "cycle": 0}'
    (tmp_path / "log.jsonl").write_text(f"{whole}\n{line}\n{whole}\n{whole[:9]}")
    with pytest.raises(DataError, match=r"log.jsonl: line 2 is none of a training's log. Remove it"):
        read_log(tmp_path)
    (tmp_path / "log.jsonl").write_text(f"{whole}\n{whole[:9]}")
    assert len(read_log(tmp_path)) == 1
