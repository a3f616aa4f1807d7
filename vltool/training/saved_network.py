"""The network of a checkpoint, built from what the checkpoint holds, without the data of its run."""

from __future__ import annotations

from typing import Any

import numpy as np

from vltool.config import from_dict
from vltool.models.joint_model import JointModel
from vltool.registry import TASKS, resolve
from vltool.tasks.network import build_network
from vltool.tasks.task import Task
from vltool.text.vocabulary import AnswerPool
from vltool.text.words import words_from_json
from vltool.training.checkpoint import Checkpoint


def network_of(saved: Checkpoint) -> tuple[JointModel, dict[str, Task[Any]]]:
    """The network of a checkpoint and its tasks, which have no examples. Raises CheckpointError if they do not fit."""
    config = from_dict(saved.run["config"], where=str(saved.path))
    levels = {plan["task"]: int(plan["level"]) for plan in saved.run["plan"]}
    tasks: dict[str, Task[Any]] = {}
    for name in levels:
        settings = config.tasks[name]
        tasks[name] = resolve(TASKS, settings.type or name, kind="task")(name, {}, options=settings.options)
        tasks[name].learn_words(words_from_json(saved.run["words"]))
        tasks[name].learn_features(saved.run.get("store_header") or {})
        if name in saved.run["answers"]:
            tasks[name].learn_answers(AnswerPool.from_json(saved.run["answers"][name]))
    model = build_network(
        config.encoder,
        tasks,
        levels,
        vectors=np.zeros(saved.run["vectors_shape"], np.float32),
        feature_dim=int(saved.run["feature_dim"]),
        seed=0,
        decoders=config.decoders,
    )
    saved.load_model(model)
    return model, tasks
