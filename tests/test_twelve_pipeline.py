"""pipelines/twelve_world.yaml from end to end, on a smaller world and with a fifth of its updates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.test_demo import run_json

ROOT = Path(__file__).parents[1]
SHARE_OF_UPDATES = 0.2
LEARNED_SOON = ("refcoco", "refcoco_plus", "visual7w", "snli_ve")
"""What is well above guessing after so few updates."""


def shortened_plan(path: Path) -> Path:
    plan = yaml.safe_load((ROOT / "pipelines/plans/twelve_world.yaml").read_text())
    for task in plan["tasks"]:
        task["num_updates"] = task["step_size"] = max(10, round(SHARE_OF_UPDATES * task["num_updates"]))
    path.write_text(yaml.safe_dump(plan))
    return path


@pytest.mark.slow
def test_twelve_tasks_are_trained_together_and_each_is_evaluated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # beside other tests, two threads wait for each other most of the time
    out, plan = tmp_path / "run", shortened_plan(tmp_path / "plan.yaml")
    small = {"world.train": 300, "world.val": 40, "world.test": 80, "training.plan": plan}
    changes = [word for key, value in {"out": out, **small}.items() for word in ("--set", f"{key}={value}")]
    found = run_json("run", ROOT / "pipelines/twelve_world.yaml", *changes)
    test = found["stages"]["eval"]["test"]
    assert len(test) == 12
    for name, task in test.items():
        assert task["joint"] and task["ignorance"], f"{name} has no score, or nothing to hold it against"
    for name in LEARNED_SOON:
        assert test[name]["joint"]["accuracy"] >= best_guess(test[name]) + 15, test[name]
    assert len(list((out / "eval").glob("joint-test-*-predictions.json"))) == 12
    rows = json.loads((out / "counts.json").read_text())["examples"]
    removed = {row["task"]: row["contaminated"] for row in rows if row["split"] == "train"}
    assert removed["snli_ve"] > 0  # pictures that other tasks evaluate
    assert removed["nlvr2"] == 0  # its pictures are its own


def best_guess(task: dict[str, Any]) -> float:
    return max(value for name, value in task["ignorance"].items() if name.split(".")[-1] == "accuracy")
