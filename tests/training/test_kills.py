"""`kill -9` at ten random moments of a training that runs as a process: the bits of an undisturbed one in the end."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.training.long_training import train_long
from tests.training.test_run import untimed
from tests.training.test_run_log import points

NUM_KILLS = 10


@pytest.mark.slow
def test_ten_kills_leave_no_trace_in_the_final_bits(tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    command = [sys.executable, "-m", "tests.training.long_training", str(folder)]
    draw = random.Random(0)
    for _ in range(NUM_KILLS):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            process.stdout.readline()  # the first update, or where it goes on from
            time.sleep(draw.uniform(0, 0.5))
            assert process.poll() is None, "it was over before it was killed"
            process.kill()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    train_long(tmp_path / "whole")
    for name in ("checkpoint/model", "checkpoint/optimizer", "best/model", "best-vqa/model"):
        first, second = (load_file(tmp_path / part / f"{name}.safetensors") for part in ("whole", "killed"))
        assert set(first) == set(second)
        assert all(torch.equal(first[key], second[key]) for key in first), name
    assert untimed(tmp_path / "whole") == untimed(folder)
    assert set(points(folder).values()) == {1}
    assert not [path.name for path in folder.iterdir() if path.name.endswith((".writing", ".before", ".leaving"))]
