"""A run as its stages see it: its tasks, its separate trainings and their folders, what they read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from vltool.config import RunConfig
from vltool.errors import ConfigError
from vltool.json_files import write_json
from vltool.splits.protocol import training_of, trainings_of


def known_tasks(config: RunConfig, names: list[str] | None) -> list[str]:
    """The named tasks in the run's order, or all of them. Raises ConfigError with the known names."""
    if names is None:
        return list(config.tasks)
    for name in names:
        if name not in config.tasks:
            raise ConfigError(f"unknown task {name!r}; the run has {', '.join(config.tasks)}")
    if not names:
        raise ConfigError(f"no task is named; the run has {', '.join(config.tasks)}")
    return [name for name in config.tasks if name in names]


def training_folder(config: RunConfig, tasks: list[str]) -> Path:
    """Where a joint training leaves its checkpoint; those of protocol `paper` apart, as joint-i and joint-ii."""
    name = "joint" if set(tasks) == set(config.tasks) else "+".join(tasks)
    protocol = config.splits.protocol
    suffix = protocol.removeprefix("paper") if protocol.startswith("paper-") else ""
    return config.out_dir / "training" / (name + suffix)


def separate_trainings(config: RunConfig) -> list[RunConfig]:
    """The run as each of its separate trainings sees it: two under protocol `paper`."""
    names: Any = trainings_of(config.splits.protocol)
    return [replace(config, splits=replace(config.splits, protocol=name)) for name in names]


def scored_by(config: RunConfig, task: str) -> RunConfig | None:
    """The training of a run that is scored on the test set of `task`; None if the protocol lets none."""
    kind = config.tasks[task].type or task
    for part in separate_trainings(config):
        training = training_of(part.splits.protocol)
        if training is None or (kind, "test") in training.scored:
            return part
    return None


def load_run(config: RunConfig, *, tasks: list[str] | None = None) -> Any:
    from vltool.training.inputs import load_inputs

    inputs = load_inputs(config)
    return inputs if tasks is None else replace(inputs, prepared=inputs.prepared.only(tasks))


def write_counts(config: RunConfig, prepared: Any) -> None:
    write_json(config.out_dir / "counts.json", {"examples": prepared.counts, "contamination": prepared.contamination})
