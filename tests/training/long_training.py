"""A training to be killed ten times: `python -m tests.training.long_training FOLDER` says when it begins."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from tests.training.together import inputs
from vltool.structures import TaskPlan
from vltool.training.run import Report, train
from vltool.training.schedule import JointPlan

PLAN = JointPlan(
    (
        TaskPlan("vqa", 3, 240, 7, 30),
        TaskPlan("caption_retrieval", 2, 200, 6, 30),
        TaskPlan("grounding", 1, 160, 5, 30),
    ),
    cycle_updates=12,
)


def train_long(folder: Path, report: Report | None = None) -> None:
    """600 turns with dropout, saved after every second cycle; a task rests where it no longer improves."""
    pace = {"sampling": "round-robin", "stop_and_go": {"resets": [0.5]}}
    run = inputs(folder, dropout=0.3, checkpoint_every=2, keep_last=2, evaluate_every=7, **pace)
    train(run, PLAN, folder, report=report)


def main() -> None:
    torch.set_num_threads(1)
    train_long(Path(sys.argv[1]), lambda line: print(line["kind"], flush=True))  # noqa: T201


if __name__ == "__main__":
    main()
