"""What the processes of `test_processes.py` run: `python -m tests.training.together FOLDER [UPDATE [TIMES]] [steered]`.

Trains the miniature without dropout in FOLDER, alone or with the processes started beside, and leaves what it saw:
FOLDER/losses.json by the first process, FOLDER/weights-RANK.txt by each; FOLDER/pid-RANK.txt while it trains.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from tests.miniature import Pictures, miniature_config, miniature_corpus, miniature_prepared
from vltool.engines.processes import ALONE, Processes, join, leave
from vltool.structures import TaskPlan
from vltool.training import checkpoint
from vltool.training.inputs import RunInputs
from vltool.training.run import train
from vltool.training.schedule import JointPlan

PLAN = JointPlan(
    (TaskPlan("vqa", 3, 24, 7, 30), TaskPlan("caption_retrieval", 2, 20, 6, 30), TaskPlan("grounding", 1, 16, 5, 30)),
    cycle_updates=12,
)


def inputs(out: Path, *, dropout: float = 0.0, **training: Any) -> RunInputs:
    prepared = miniature_prepared()
    config = miniature_config(str(out), **training)
    options = {**config.encoder.options, "dropout": dropout, "lstm_dropout": dropout}
    config = replace(
        config,
        encoder=replace(config.encoder, options=options),
        evaluation=replace(config.evaluation, batch_size=4),  # so that there are several batches to share
    )
    return RunInputs(config, prepared, miniature_corpus(prepared), Pictures())  # type: ignore[arg-type]


def train_here(
    folder: Path, processes: Processes = ALONE, *, killed_at: int = -1, plan: JointPlan = PLAN, **options: Any
) -> list[tuple[str, float]]:
    """(task, loss) of every update. killed_at: the update at which the last process is killed from outside."""
    losses: list[tuple[str, float]] = []

    def report(line: dict[str, Any]) -> None:
        if line["kind"] == "update":
            losses.append((line["task"], line["loss"]))
            if line["update"] == killed_at and processes.rank == processes.size - 1:
                os.kill(os.getpid(), signal.SIGKILL)

    train(inputs(folder, **options), plan, folder, report=report, processes=processes)
    return losses


STEERED: dict[str, Any] = {"stop_and_go": {"gap": 3}, "learning_rate": 1e-9, "sampling": "round-robin"}
"""Nothing is learned, so that every task soon rests."""


def main(folder: Path, killed_at: int = -1, times: int = 1, *, steered: bool = False) -> None:
    torch.set_num_threads(1)
    options = STEERED if steered else {"evaluate_every": 2}
    plan = replace(PLAN, tasks=tuple(replace(task, num_updates=times * task.num_updates) for task in PLAN.tasks))
    with join("cpu") as processes:
        (folder / f"pid-{processes.rank}.txt").write_text(str(os.getpid()))
        losses = train_here(folder, processes, killed_at=killed_at, plan=plan, **options)
        if processes.is_first:
            (folder / "losses.json").write_text(json.dumps(losses))
        processes.wait()
        digest = hashlib.sha256()
        for tensor in checkpoint.load(folder / "checkpoint").tensors().values():
            digest.update(tensor.numpy().tobytes())
        (folder / f"weights-{processes.rank}.txt").write_text(digest.hexdigest())


if __name__ == "__main__":
    try:
        numbers = [int(text) for text in sys.argv[2:] if text != "steered"]
        main(Path(sys.argv[1]), *numbers, steered="steered" in sys.argv)
    except SystemExit as leaving:
        leave(leaving.code)
    leave(0)
