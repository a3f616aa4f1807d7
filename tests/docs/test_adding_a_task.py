"""A thirteenth task inside vltool: the page's class as one new file, its line in the registry, and nothing else."""

from __future__ import annotations

import filecmp
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.docs.walk import DOCS, blocks

ROOT = DOCS.parent
LAST = '        "snli_ve": "vltool.tasks.snli_ve:SnliVe",\n'
TRAINED = """
import numpy as np
import vltool
from tests.miniature import image_id
from tests.twelve import twelve_model
from vltool.config import from_dict
from vltool.datasets.records import QuestionRecord
from vltool.evaluation.evaluate import evaluate
from vltool.registry import TASKS, resolve
from vltool.training.rates import Optimizer, Rates, RateSchedule
from vltool.training.update import Updater

source = {"reader": "vqa_v2", "files": {}}
from_dict({"name": "a", "out": "b", "tasks": {"counting": {"train": [source], "val": [source]}}})
kind = resolve(TASKS, "counting", kind="task")
def records(numbers):
    return [QuestionRecord(n, image_id(n), "how many ?", (str(n % 3),) * 10, "how many", "number") for n in numbers]
task = kind("counting", {"train": records(range(8)), "val": records([8, 9]), "test": records([10, 11])})
model, prepared, batching = twelve_model(tasks={"counting": task})
updater = Updater(model, Optimizer(model, rates=Rates(0.01), schedule=RateSchedule(step_size=100)))
batch = batching.training_batch(task, task.examples("train"), np.random.default_rng(0))
losses = [updater.update(task, batch).loss for _ in range(20)]
assert losses[-1] < losses[0], losses
scores = evaluate(model, task, task.examples("test"), batching).scores
print(vltool.__file__, kind.__module__, scores)
"""


def test_a_task_inside_is_one_new_file_and_one_line(tmp_path: Path) -> None:
    page = blocks(DOCS / "adding_a_task.md")
    (code,) = (block.text for block in page if block.title == "counting/counting_task.py")
    (line,) = (block.text for block in page if "vltool.tasks.counting:" in block.text)
    package = tmp_path / "vltool"
    shutil.copytree(ROOT / "vltool", package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "tasks" / "counting.py").write_text(code)
    assert line.count("\n") == 1
    registry = package / "registry.py"
    before = registry.read_text()
    registry.write_text(before.replace(LAST, LAST + line))
    assert len(registry.read_text().splitlines()) == len(before.splitlines()) + 1
    assert changed(ROOT / "vltool", package) == {"registry.py", "tasks/counting.py"}
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    result = subprocess.run(
        [sys.executable, "-c", TRAINED], capture_output=True, text=True, env=environment, cwd=tmp_path, check=False
    )
    assert result.returncode == 0, result.stderr
    assert str(package) in result.stdout and "vltool.tasks.counting {'exact': " in result.stdout


def changed(left: Path, right: Path, below: str = "") -> set[str]:
    """The files that differ, or are on one side alone."""
    seen = filecmp.dircmp(left, right, ignore=["__pycache__"])
    names = {f"{below}{name}" for name in (*seen.left_only, *seen.right_only, *seen.diff_files)}
    return names.union(*(changed(left / name, right / name, f"{below}{name}/") for name in seen.common_dirs))
