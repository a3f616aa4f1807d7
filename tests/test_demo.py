"""The whole demo, held to what it promises; and the same road killed again and again."""

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

from tests.cli.test_commands import small_run
from vltool.world.files import write_world

COMMAND = [sys.executable, "-c", "from vltool.cli.app import main; main()"]


def run_json(*arguments: object) -> dict[str, Any]:
    result = subprocess.run([*COMMAND, *map(str, arguments), "--json"], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.mark.slow
@pytest.mark.xdist_group("demo")
def test_the_demo_learns_what_it_promises(tmp_path: Path) -> None:
    found = run_json("demo", "--out", tmp_path / "demo")
    assert set(found) == {"seconds", "stages", "levels", "test", "report"}
    test = found["test"]
    vqa, grounding, retrieval = test["vqa"], test["grounding"], test["caption_retrieval"]
    for model in ("single", "joint"):
        assert vqa[model]["accuracy"] >= vqa["ignorance"]["question_only.accuracy"] + 20
        assert grounding[model]["recall@1"] >= grounding[model]["upper_bound"] / 2
        assert grounding[model]["recall@1"] >= 3 * grounding["ignorance"]["recall@1"]
        for way in ("image_to_text", "text_to_image"):
            metric = f"{way}.recall@1"
            assert retrieval[model][metric] >= 20 * retrieval["ignorance"][metric]
    page = Path(found["report"]).read_text(encoding="utf-8")
    assert page.count("<figure") >= 6
    started = time.monotonic()
    again = run_json("demo", "--out", tmp_path / "demo")
    assert again["test"] == test
    assert time.monotonic() - started < 60  # nothing is computed again


@pytest.mark.slow
def test_kills_in_every_stage_end_in_the_same_numbers(tmp_path: Path) -> None:
    world = tmp_path / "world"
    write_world(world, num_train=12, num_val=4, num_test=4, questions_per_image=6)
    settings: dict[str, Any] = {
        "search": {"grid": {"level": [1], "batch_size": [4], "num_updates": [30], "step_size": [20]}},
        "training": {"cycle_updates": 3, "checkpoint_every": 1},
    }
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole = run_json("run", small_run(tmp_path / "a", world, **settings))
    killed = small_run(tmp_path / "b", tmp_path / "b" / "world", **settings)
    draw = random.Random(0)
    kills = 0
    for _ in range(12):
        process = subprocess.Popen([*COMMAND, "run", str(killed)], stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            process.wait(timeout=draw.uniform(2, 6))
            break
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
    assert kills >= 2, "the run was too quick to be killed"
    parts = run_json("run", killed)
    assert parts["stages"]["eval"]["test"] == whole["stages"]["eval"]["test"]
    assert parts["stages"]["search-layers"]["levels"] == whole["stages"]["search-layers"]["levels"]
    assert parts["stages"]["embed-text"]["words"] == whole["stages"]["embed-text"]["words"]
