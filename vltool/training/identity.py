"""What a training is, so that it is never mixed up with another, and what trained its weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from vltool.config import dump
from vltool.provenance import git_commit, versions
from vltool.splits.trained_ids import TrainedIds
from vltool.tasks.prepare import image_ids_of
from vltool.training.inherit import inherited_ids
from vltool.training.inputs import RunInputs
from vltool.training.schedule import JointPlan

FREE = ("checkpoint_every", "keep_last")
"""Keys of `training` that change what is kept, never what is trained."""


def run_identity(inputs: RunInputs, plan: JointPlan) -> dict[str, Any]:
    """What makes two trainings the same one: configuration, seed, plan, features, words and examples."""
    config = dump(inputs.config)
    rates = {task.task: inputs.config.tasks[task.task].learning_rate for task in plan.tasks}
    shared = {task.task: name for task in plan.tasks if (name := inputs.config.decoders[task.task]) != task.task}
    ids, validated = (
        [example.example_id for task in plan.tasks for example in inputs.prepared.examples[task.task][split]]
        for split in ("train", "val")
    )
    return {
        "training": config["training"],
        "encoder": config["encoder"],
        "plan": [asdict(task) for task in plan.tasks],
        "loss_weights": {task.task: inputs.config.tasks[task.task].loss_weight for task in plan.tasks},
        **({"learning_rates": rates} if any(rates.values()) else {}),
        **({"decoders": shared} if shared else {}),
        "cycle_updates": plan.cycle_updates,
        "features": inputs.store.header["fingerprint"],
        **({"given": inputs.given.header["fingerprint"]} if inputs.given else {}),
        "words": _digest(list(inputs.corpus.words)),
        "num_examples": len(ids),
        "examples": _digest(ids),
        "validated": _digest(validated),
        "seed": inputs.config.seed,
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
        "store_header": {
            key: inputs.store.header.get(key) for key in ("backend", "recipe", "fingerprint", "class_names")
        },
    }


def differences(identity: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """The names of what differs between two trainings (training.learning_rate, plan.vqa.level); empty: the same one."""
    own, theirs = _comparable(identity), _comparable(other)
    return [key for key in own | theirs if own.get(key) != theirs.get(key)]


def _comparable(identity: Mapping[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(dict(identity)))
    plan = plain.get("plan", [])
    plain["plan"] = {"order": [task["task"] for task in plan], **{task["task"]: task for task in plan}}
    free = [f"training.{name}" for name in FREE]
    return {key: value for key, value in _leaves(plain) if key not in free}


def _leaves(found: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in found.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def _digest(names: list[str]) -> str:
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]
