"""Scores of saved checkpoints, refused where a picture to be scored was trained on, or marked if that is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vltool.engines.processes import ALONE, Processes
from vltool.errors import ConfigError, SplitError
from vltool.evaluation.evaluate import Evaluation, Progress
from vltool.evaluation.kept_tiles import forget
from vltool.metrics.bootstrap import LEVEL, bounds, intervals
from vltool.models.joint_model import JointModel
from vltool.provenance import git_commit, versions
from vltool.splits.protocol import Training, refuse_scoring, training_of
from vltool.structures import ImageId
from vltool.tasks.prepare import image_ids_of
from vltool.tasks.task import Scores
from vltool.training import checkpoint
from vltool.training.checkpoint import Checkpoint
from vltool.training.inputs import RunInputs, pick_device
from vltool.training.pair_work import PairWork, score_share


@dataclass(frozen=True)
class ScoredTask:
    """One task's scores on one split, and what ignorance reaches there.

    contaminated: how many of the scored pictures trained the model (or one that it started from). rules: which of
    several rules in use the scores follow. parts: the folder that keeps what is done of a long scoring.
    """

    evaluation: Evaluation
    ignorance: Scores
    contaminated: int = 0
    rules: dict[str, Any] = field(default_factory=dict)
    parts: Path | None = None


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
    allow_contaminated: bool = False,
    parts: Path | None = None,
    progress: Progress | None = None,
    processes: Processes = ALONE,
) -> dict[str, ScoredTask]:
    """Scores of a checkpoint on `split` of its tasks. Raises SplitError if it was trained on what is scored.

    tasks: default all that the protocol of its training lets it be scored on. allow_contaminated: score it all the
    same, and count the pictures; what training (i) or (ii) of the paper is not for stays refused. parts: a folder in
    which scorings of all pairs keep what is done, so that they can be broken off; remove it with `forget_parts` when
    the scores are written. processes: all of them must call this with the same arguments; each scores its share.
    """
    saved = checkpoint.load(path)
    own = [task["task"] for task in saved.run["plan"]]
    chosen = list(tasks) if tasks is not None else _scorable(inputs, saved, own, split)
    for name in chosen:
        if name not in own:
            raise ConfigError(f"{path}: has no task {name!r}; it has {', '.join(own)}")
    refuse_by_protocol(inputs, saved, chosen, split)
    met = contaminated_pictures(inputs, saved, chosen, split)
    if not allow_contaminated:
        _refuse(saved, met, split)
    for name in chosen:
        inputs.prepared.tasks[name].check_asked(split, inputs.prepared.examples[name][split])
    model = load_network(inputs, saved)
    batching = inputs.batching()
    found = {}
    for name in chosen:
        task, examples = inputs.prepared.tasks[name], inputs.prepared.examples[name]
        options: dict[str, Any] = {"processes": processes}
        if parts is not None and task.scoring == "all_pairs":
            kept = parts / f"{name}-parts"
            if processes.size > 1:
                options["score_pairs"] = score_share(kept / f"{processes.rank + 1}-of-{processes.size}")
            else:
                options["score_pairs"] = PairWork(inputs, Path(path), name, examples[split], kept).score
        evaluation = inputs.evaluate(model, name, split, progress=progress, **options)
        task.check_predictions(split, evaluation.predictions)
        ignorance = task.ignorance(examples[split], examples["train"], batching.row_of)
        place = parts and parts / f"{name}-parts"
        found[name] = ScoredTask(evaluation, ignorance, len(met[name]), inputs.rules(name), place)
    return found


def forget_parts(scored: Mapping[str, ScoredTask]) -> None:
    """Remove what long scorings kept, now that their scores are written."""
    for found in scored.values():
        if found.parts is not None:
            forget(found.parts)


def refuse_by_protocol(inputs: RunInputs, saved: Checkpoint, tasks: Iterable[str], split: str) -> None:
    """Raises SplitError where the checkpoint is of one of the paper's trainings and not to be scored on a task."""
    training = _paper_training(saved)
    for name in tasks if training else ():
        assert training is not None
        refuse_scoring(training, _kind(inputs, name), split)


def contaminated_pictures(
    inputs: RunInputs, saved: Checkpoint, tasks: Iterable[str], split: str
) -> dict[str, list[ImageId]]:
    """task → the pictures of its `split` that trained the checkpoint, or a checkpoint that it started from."""
    trained = saved.trained_ids()
    return {name: trained.meets(image_ids_of(inputs.prepared.examples[name][split])) for name in tasks}


def refuse_contaminated(inputs: RunInputs, saved: Checkpoint, tasks: Iterable[str], split: str) -> None:
    """Raises SplitError naming the first pictures that both trained the checkpoint and are to be scored."""
    _refuse(saved, contaminated_pictures(inputs, saved, tasks, split), split)


def _refuse(saved: Checkpoint, met: Mapping[str, list[ImageId]], split: str) -> None:
    for name, image_ids in met.items():
        if image_ids:
            raise SplitError(
                f"{saved.path}: {len(image_ids)} pictures of {name}/{split} trained this checkpoint, first "
                f"{', '.join(image_ids[:3])}. Score it on another split, or train again with splits.protocol=clean; "
                "--allow-contaminated scores it and marks the scores"
            )


def contamination_of(scored: Mapping[str, ScoredTask]) -> dict[str, Any]:
    """{"images": 0}, or how many scored pictures were trained on, and of which tasks."""
    counts = {name: found.contaminated for name, found in scored.items() if found.contaminated}
    return {"images": sum(counts.values()), **({"tasks": counts} if counts else {})}


def bootstrap_of(scored: Mapping[str, ScoredTask], *, draws: int, seed: int) -> dict[str, Any]:
    """{"intervals": {task: {metric: [low, high]}}, "bootstrap": how they were made}; nothing of no draws."""
    items = {name: found.evaluation.items for name, found in scored.items()}
    if not draws:
        return {}
    found = {name: bounds(intervals(own, draws=draws, seed=seed)) for name, own in items.items() if own is not None}
    units = {name: own.unit for name, own in items.items() if own is not None}
    return {"intervals": found, "bootstrap": {"draws": draws, "seed": seed, "level": LEVEL, "units": units}}


def _scorable(inputs: RunInputs, saved: Checkpoint, tasks: list[str], split: str) -> list[str]:
    training = _paper_training(saved)
    found = [name for name in tasks if training is None or (_kind(inputs, name), split) in training.scored]
    return found or tasks


def _paper_training(saved: Checkpoint) -> Training | None:
    protocol = saved.run.get("protocol", "clean")
    return None if protocol == "paper" else training_of(protocol)


def _kind(inputs: RunInputs, name: str) -> str:
    return inputs.config.tasks[name].type or name


def evaluation_record(
    model: str, split: str, inputs: RunInputs, checkpoints: dict[str, str], scored: dict[str, ScoredTask]
) -> dict[str, Any]:
    """What `eval` writes down of one model and split, JSON-able."""
    return {
        "model": model,
        "split": split,
        "protocol": inputs.config.splits.protocol,
        "contamination": contamination_of(scored),
        "provenance": {"versions": versions(), "commit": git_commit(), "seed": inputs.config.seed},
        "checkpoints": checkpoints,
        "tasks": {name: found.evaluation.scores for name, found in scored.items()},
        "ignorance": {name: found.ignorance for name, found in scored.items()},
        "rules": {name: found.rules for name, found in scored.items()},
    }
