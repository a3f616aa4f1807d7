"""One training from start to finish: resumes from its last checkpoint, saves, evaluates on validation, proves its data.

<folder>/
  checkpoint/        the last saved state (training/checkpoint.py)
  log.jsonl          losses and validation scores (training/run_log.py)
  result.json        written when the training is finished
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vltool.config import RunConfig, dump
from vltool.errors import CheckpointError
from vltool.evaluation.evaluate import Evaluation, evaluate
from vltool.features.store import RegionStore
from vltool.json_files import write_json
from vltool.models.joint_model import JointModel
from vltool.models.precision import resolve_precision
from vltool.provenance import git_commit, versions
from vltool.splits.audit import TrainedIds
from vltool.structures import Batch
from vltool.tasks.batching import Batching
from vltool.tasks.corpus import Corpus
from vltool.tasks.network import build_network
from vltool.tasks.prepare import PreparedTasks, image_ids_of
from vltool.tasks.task import Scores
from vltool.training import checkpoint
from vltool.training.inherit import inherit_weights, inherited_ids
from vltool.training.joint import train_jointly
from vltool.training.loader import TaskBatches
from vltool.training.lock import only_process_in
from vltool.training.run_log import RunLog
from vltool.training.schedule import JointPlan
from vltool.training.update import Updater

Report = Callable[[dict[str, Any]], None]
STATISTICS_PICTURES = 5000


@dataclass(frozen=True)
class RunInputs:
    """What a training reads: its tasks' examples (only of pictures with features), words and features."""

    config: RunConfig
    prepared: PreparedTasks
    corpus: Corpus
    store: RegionStore

    @property
    def feature_dim(self) -> int:
        return int(self.store.header["feature_dim"])

    @property
    def may_lack_val(self) -> bool:
        """Whether the split protocol takes val sets away (training (ii) of the paper trains on one)."""
        return self.config.splits.protocol == "paper-ii"

    def batching(self) -> Batching:
        return Batching(self.store, self.corpus.tokens, self.corpus.token_ids)

    def model(self, levels: Mapping[str, int], *, seed: int, new: bool = True) -> JointModel:
        """The network of some tasks; new: about to be trained, so its encoder learns the features' statistics."""
        tasks = {name: self.prepared.tasks[name] for name in levels}
        model = build_network(
            self.config.encoder,
            tasks,
            levels,
            vectors=self.corpus.vectors,
            feature_dim=self.feature_dim,
            seed=seed,
        )
        if new and model.encoder.wants_feature_statistics:
            model.encoder.take_feature_statistics(*self.feature_statistics())
        return model

    def feature_statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation (D,) of each feature over the regions of the run's training pictures.

        Of more than 5,000 pictures an evenly spaced 5,000 is read.
        """
        training = [example for splits in self.prepared.examples.values() for example in splits["train"]]
        image_ids = sorted(image_ids_of(training))
        chosen = image_ids[:: max(1, len(image_ids) // STATISTICS_PICTURES)]
        total, squares, count = np.zeros(self.feature_dim), np.zeros(self.feature_dim), 0
        for image_id in chosen:
            features = self.store.get(image_id).features.astype(np.float64)
            total, squares, count = total + features.sum(0), squares + (features**2).sum(0), count + len(features)
        mean = total / count
        deviation = np.sqrt(np.maximum(squares / count - mean**2, 0))
        return torch.from_numpy(mean).float(), torch.from_numpy(deviation).float()

    def evaluate(self, model: JointModel, name: str, split: str, **options: Any) -> Evaluation:
        """Scores of `model` on one split of one task."""
        return evaluate(
            model,
            self.prepared.tasks[name],
            self.prepared.examples[name][split],
            self.batching(),
            batch_size=self.config.evaluation.batch_size,
            precision=self.config.training.precision,
            device=pick_device(self.config.training.device),
            **options,
        )


@dataclass(frozen=True)
class TrainingResult:
    """How a training ended. val: task → validation scores of the final weights."""

    folder: Path
    val: dict[str, Scores]
    num_updates: int
    seconds: float
    seconds_waiting: float


def pick_device(name: str) -> torch.device:
    """The device of a configuration; auto: a GPU if there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def train(inputs: RunInputs, plan: JointPlan, folder: Path, *, report: Report | None = None) -> TrainingResult:
    """Train by `plan` in `folder`, going on from its last checkpoint; a finished training returns at once.

    report: called with every line of the log and with {"kind": "resumed"} or {"kind": "inherited"}. Raises StoreError
    or CheckpointError if the folder belongs to another run, TrainingError if numbers stop being finite.
    """
    with only_process_in(folder):
        return _train(inputs, plan, folder, report or (lambda line: None))


def _train(inputs: RunInputs, plan: JointPlan, folder: Path, say: Report) -> TrainingResult:
    identity = run_identity(inputs, plan)
    checkpoint.recover(folder / "checkpoint")
    if (finished := _finished(folder, identity)) is not None:
        say({"kind": "finished"})
        return finished
    settings = inputs.config.training
    device = pick_device(settings.device)
    model = inputs.model({task.task: task.level for task in plan.tasks}, seed=inputs.config.seed).to(device)
    updater = Updater(
        model,
        learning_rate=settings.learning_rate,
        betas=settings.betas,
        decay=settings.decay,
        step_size=plan.step_size,
        gradient_clip=settings.gradient_clip,
        precision=resolve_precision(settings.precision, device),
        device=device,
        seed=inputs.config.seed,
    )
    start_cycle = _resume(folder, identity, model, updater)
    if not start_cycle and settings.init_from:
        taken, left = inherit_weights(inputs, model)
        say({"kind": "inherited", "from": settings.init_from, "tensors": taken, "left": left})
    if start_cycle:
        say({"kind": "resumed", "cycle": start_cycle, "update": updater.num_updates})
    started = time.perf_counter()
    with ThreadPoolExecutor(1) as pool, RunLog(folder, start_cycle=start_cycle) as log:
        batching = inputs.batching()
        batches = {
            task.task: TaskBatches(
                inputs.prepared.tasks[task.task],
                inputs.prepared.examples[task.task]["train"],
                batching,
                batch_size=task.batch_size,
                seed=inputs.config.seed,
                start=plan.updates_of(task.task, before_cycle=start_cycle),
                pool=pool,
            )
            for task in plan.tasks
        }
        losses: dict[str, list[float]] = {task.task: [] for task in plan.tasks}

        def update(name: str, batch: Batch) -> None:
            weight = inputs.config.tasks[name].loss_weight
            losses[name].append(updater.update(inputs.prepared.tasks[name], batch.to(device), weight=weight))

        def after_cycle(cycle: int) -> None:
            for name, values in losses.items():
                if values:
                    line = {"task": name, "loss": sum(values) / len(values), "learning_rate": updater.learning_rate}
                    _note(log, say, "loss", cycle, updater.num_updates, line)
                    values.clear()
            last = cycle == plan.num_cycles - 1
            due = settings.evaluate_every and (cycle + 1) % settings.evaluate_every == 0
            if due and not last:
                _score(inputs, model, log, say, cycle, updater.num_updates)
            if last or (cycle + 1) % settings.checkpoint_every == 0:
                run = {"identity": identity, "cycle": cycle + 1, "num_updates": updater.num_updates}
                run |= checkpoint_facts(inputs, plan)
                checkpoint.save(folder / "checkpoint", model, run, optimizer=updater.optimizer)

        train_jointly(plan, batches=batches, update=update, after_cycle=after_cycle, start_cycle=start_cycle)
        val = _score(inputs, model, log, say, plan.num_cycles - 1, updater.num_updates)
        waited = sum(found.waited for found in batches.values())
    result = TrainingResult(folder, val, updater.num_updates, time.perf_counter() - started, waited)
    _write_result(folder, identity, result)
    return result


def run_identity(inputs: RunInputs, plan: JointPlan) -> dict[str, Any]:
    """What makes two trainings the same one: configuration, plan, features, words and examples."""
    config = dump(inputs.config)
    ids = [example.example_id for task in plan.tasks for example in inputs.prepared.examples[task.task]["train"]]
    return {
        "training": config["training"],
        "encoder": config["encoder"],
        "plan": [asdict(task) for task in plan.tasks],
        "loss_weights": {task.task: inputs.config.tasks[task.task].loss_weight for task in plan.tasks},
        "cycle_updates": plan.cycle_updates,
        "features": inputs.store.header["fingerprint"],
        "words": _digest(list(inputs.corpus.words)),
        "num_examples": len(ids),
        "examples": _digest(ids),
    }


def checkpoint_facts(inputs: RunInputs, plan: JointPlan) -> dict[str, Any]:
    """What a checkpoint carries beside its weights: enough to rebuild it, and the ids of what trained it."""
    names = [task.task for task in plan.tasks]
    own = TrainedIds.build({name: image_ids_of(inputs.prepared.examples[name]["train"]) for name in names})
    trained = own.union(inherited_ids(inputs))
    return {
        "config": dump(inputs.config),
        "provenance": {"versions": versions(), "commit": git_commit()},
        "plan": [asdict(task) for task in plan.tasks],
        "feature_dim": inputs.feature_dim,
        "words": inputs.corpus.words.to_json(),
        "vectors_shape": list(inputs.corpus.vectors.shape),
        "answers": {name: pool.to_json() for name, pool in inputs.corpus.answers.items() if name in names},
        "trained_ids": trained.to_json(),
        "protocol": inputs.config.splits.protocol,
        "store_header": {key: inputs.store.header.get(key) for key in ("backend", "recipe", "fingerprint")},
    }


def _note(log: RunLog, say: Report, kind: str, cycle: int, update: int, values: dict[str, Any]) -> None:
    log.write(kind, update=update, cycle=cycle, **values)
    say({"kind": kind, "update": update, "cycle": cycle, **values})


def _score(
    inputs: RunInputs, model: JointModel, log: RunLog, say: Report, cycle: int, update: int
) -> dict[str, Scores]:
    validated = [name for name in model.levels if inputs.prepared.examples[name]["val"] or not inputs.may_lack_val]
    found = {name: inputs.evaluate(model, name, "val").scores for name in validated}
    for name, scores in found.items():
        _note(log, say, "scores", cycle, update, {"task": name, "split": "val", "scores": scores})
    return found


def _resume(folder: Path, identity: dict[str, Any], model: JointModel, updater: Updater) -> int:
    if not (folder / "checkpoint").exists():
        return 0
    saved = checkpoint.load(folder / "checkpoint")
    own = saved.run.get("identity", {})
    different = [key for key, value in identity.items() if own.get(key) != json.loads(json.dumps(value))]
    if different:
        raise CheckpointError(
            f"{folder}: holds the checkpoint of another training (its {', '.join(different)} differ). "
            "Give this run another `out`, or remove that folder"
        )
    saved.load_model(model)
    saved.load_optimizer(updater.optimizer)
    updater.num_updates = int(saved.run["num_updates"])
    return saved.cycle


def _finished(folder: Path, identity: dict[str, Any]) -> TrainingResult | None:
    try:
        found = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        known, result = found["identity"], found["result"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None  # not finished, or damaged: the checkpoint says how far it came
    if known != json.loads(json.dumps(identity)):
        return None
    return TrainingResult(folder, result["val"], result["num_updates"], result["seconds"], result["seconds_waiting"])


def _write_result(folder: Path, identity: dict[str, Any], result: TrainingResult) -> None:
    values = {key: value for key, value in asdict(result).items() if key != "folder"}
    write_json(folder / "result.json", {"identity": identity, "result": values}, indent=1)


def _digest(names: list[str]) -> str:
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]
