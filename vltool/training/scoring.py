"""Scores of saved checkpoints, refused where a picture to be scored was trained on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vltool.errors import ConfigError, SplitError
from vltool.evaluation.evaluate import Evaluation, Progress
from vltool.models.joint_model import JointModel
from vltool.splits.audit import TrainedIds
from vltool.tasks.prepare import image_ids_of
from vltool.tasks.task import Scores
from vltool.training import checkpoint
from vltool.training.checkpoint import Checkpoint
from vltool.training.run import RunInputs, pick_device


@dataclass(frozen=True)
class ScoredTask:
    """One task's scores on one split, and what ignorance reaches there."""

    evaluation: Evaluation
    ignorance: Scores


def load_network(inputs: RunInputs, saved: Checkpoint) -> JointModel:
    """The model of a checkpoint, with the run's data. Raises CheckpointError if they do not fit each other."""
    levels = {task["task"]: int(task["level"]) for task in saved.run["plan"]}
    model = inputs.model(levels, seed=0, new=False)
    saved.load_model(model)
    return model.to(pick_device(inputs.config.training.device))


def score_checkpoint(
    inputs: RunInputs,
    path: Path | str,
    *,
    tasks: Iterable[str] | None = None,
    split: str = "test",
    progress: Progress | None = None,
) -> dict[str, ScoredTask]:
    """Scores of a checkpoint on `split` of its tasks. Raises SplitError if it was trained on what is scored."""
    saved = checkpoint.load(path)
    own = [task["task"] for task in saved.run["plan"]]
    chosen = list(tasks) if tasks is not None else own
    for name in chosen:
        if name not in own:
            raise ConfigError(f"{path}: has no task {name!r}; it has {', '.join(own)}")
    refuse_contaminated(inputs, saved, chosen, split)
    model = load_network(inputs, saved)
    batching = inputs.batching()
    found = {}
    for name in chosen:
        evaluation = inputs.evaluate(model, name, split, progress=progress)
        ignorance = inputs.prepared.tasks[name].ignorance(
            inputs.prepared.examples[name][split], inputs.prepared.examples[name]["train"], batching.row_of
        )
        found[name] = ScoredTask(evaluation, ignorance)
    return found


def refuse_contaminated(inputs: RunInputs, saved: Checkpoint, tasks: Iterable[str], split: str) -> None:
    """Raises SplitError naming the first pictures that both trained the checkpoint and are to be scored."""
    trained = TrainedIds.from_json(saved.run["trained_ids"])
    for name in tasks:
        met = trained.meets(image_ids_of(inputs.prepared.examples[name][split]))
        if met:
            raise SplitError(
                f"{saved.path}: {len(met)} pictures of {name}/{split} trained this checkpoint, first "
                f"{', '.join(met[:3])}. Score it on another split, or train again with splits.protocol=clean"
            )


def evaluation_record(
    model: str, split: str, inputs: RunInputs, checkpoints: dict[str, str], scored: dict[str, ScoredTask]
) -> dict[str, Any]:
    """What `eval` writes down of one model and split, JSON-able."""
    return {
        "model": model,
        "split": split,
        "protocol": inputs.config.splits.protocol,
        "contamination": {"images": 0},
        "checkpoints": checkpoints,
        "tasks": {name: found.evaluation.scores for name, found in scored.items()},
        "ignorance": {name: found.ignorance for name, found in scored.items()},
    }
