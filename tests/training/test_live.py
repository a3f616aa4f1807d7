"""What a person is told while a training runs."""

from __future__ import annotations

from pathlib import Path

from tests.training.test_run import PLAN, inputs
from vltool.cli.console import time_left
from vltool.training.live import Live
from vltool.training.run import train


def test_the_loss_of_every_task_and_the_updates_are_told(tmp_path: Path) -> None:
    shown: list[tuple[str, int, int]] = []
    said: list[str] = []
    live = Live(PLAN, say=said.append, progress=lambda *row: shown.append(row))
    live.speed = 12345.0
    train(inputs(tmp_path), PLAN, tmp_path / "run", report=live)
    assert [row[1:] for row in shown] == [(k + 1, 30) for k in range(30)]
    for name in ("vqa", "caption_retrieval", "grounding"):
        assert f"{name} " in shown[-1][0]
    assert "examples/s" in shown[-1][0]
    train(inputs(tmp_path), PLAN, tmp_path / "run", report=live)
    assert said == ["up to date"]


def test_going_on_with_other_processes_is_said() -> None:
    said: list[str] = []
    live = Live(PLAN, say=said.append, progress=lambda *row: None)
    live({"kind": "resumed", "cycle": 1, "update": 6, "processes_before": 2})
    assert said[0].startswith("going on from update 6; 2 processes came that far")


def test_time_left_is_in_units_a_person_reads() -> None:
    assert time_left(10, 10, 40) == "40 s"
    assert time_left(60, 10, 70) == "7 min"
    assert time_left(60, 10, 1250) == "2 h 05 min"
    assert time_left(10, 0, 40) == time_left(10, 10, 0) == ""
