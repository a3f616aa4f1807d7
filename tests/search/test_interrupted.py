"""A search that is killed (-9) again and again ends in the plan of one that was not."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
NUM_KILLS = 10


@pytest.mark.slow
def test_ten_kills_at_random_moments_end_in_the_same_plan(tmp_path: Path) -> None:
    started = time.monotonic()
    begin(tmp_path / "whole").wait()
    seconds = time.monotonic() - started
    draw, kills, trained = random.Random(6), 0, []
    while kills < NUM_KILLS:
        process = begin(tmp_path / "killed")
        assert process.stdout is not None
        if process.stdout.readline():  # it says what is to be done; then trials begin
            time.sleep(draw.uniform(0.05, 0.4) * seconds)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        kills += 1
        trained.append(len(list((tmp_path / "killed").glob("search/*/*/checkpoint"))))
    assert begin(tmp_path / "killed").wait() == 0
    assert min(trained) < max(trained), "the kills came all before, or all after, what they were to disturb"
    assert plan_of(tmp_path / "killed") == plan_of(tmp_path / "whole")
    assert scores_of(tmp_path / "killed") == scores_of(tmp_path / "whole")


def begin(out: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.search.miniature_search", str(out), "halving"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def plan_of(out: Path) -> dict[str, Any]:
    plan: dict[str, Any] = json.loads((out / "plan.json").read_text())
    for own in plan["chosen"].values():
        own["folder"] = Path(own["folder"]).name
    return plan


def scores_of(out: Path) -> dict[str, Any]:
    return {
        str(path.relative_to(out)): json.loads(path.read_text())["result"]["val"]
        for path in out.glob("search/*/*/result.json")
    }
