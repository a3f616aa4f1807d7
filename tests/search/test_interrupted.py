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
    begin(tmp_path / "whole").wait()
    draw, trained = random.Random(6), []
    for kill in range(NUM_KILLS):
        process = begin(tmp_path / "killed")
        assert process.stdout is not None
        process.stdout.readline()  # it says what is to be done; then trials begin
        if kill % 2 == 0:  # in the middle of the work, however slowly the trials begin here
            before = traces_of(tmp_path / "killed")
            while process.poll() is None and traces_of(tmp_path / "killed") == before:
                time.sleep(0.01)
            time.sleep(draw.uniform(0, 0.2))
        else:
            time.sleep(draw.uniform(0, 2))
        if process.poll() is None:
            trained.append(len(scores_of(tmp_path / "killed")))
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert len(trained) >= NUM_KILLS / 2, "the search was over before it was killed"
    assert begin(tmp_path / "killed").wait() == 0
    assert trained[0] < len(scores_of(tmp_path / "killed")), "nothing was left to do after the first kill"
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


def traces_of(out: Path) -> dict[Path, int]:
    """The logs of the trials, and their lengths: what grows while they train."""
    return {path: path.stat().st_size for path in out.glob("search/*/*/log.jsonl")}


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
