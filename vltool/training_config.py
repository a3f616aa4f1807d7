"""The configuration of a training: Algorithm 1, its optimizer, and what 12-in-1 adds to both.

training:
  optimizer: adamw
  weight_decay: 0.01
  schedule: linear
  warmup: 0.1
  part_rates: {decoders: 0.0001}
  sampling: round-robin
  stop_and_go: {gap: 4}
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from vltool.errors import ConfigError

Count = Annotated[int, Field(ge=0, strict=True)]  # strict: true and 2.0 are no counts
AtLeastOne = Annotated[int, Field(ge=1, strict=True)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Beta = Annotated[float, Field(ge=0, lt=1)]
Precision = Literal["auto", "float32", "bfloat16", "float16"]
OptimizerKind = Literal["adam", "adamw"]
ScheduleKind = Literal["halving", "linear"]
Sampling = Literal["periodic", "round-robin", "proportional"]
CombinationKind = Literal["single", "groups", "pairs", "all", "finetuned"]
Curriculum = bool | Literal["fast-first", "slow-first"]


@dataclass(frozen=True)
class StopAndGoConfig:
    """Dynamic stop-and-go of 12-in-1 (training/stop_and_go.py); the defaults are its authors'.

    A task stops after more than `patience` scores in a row that are not `threshold` (relative) above its best, and goes
    again once it has fallen `continue_threshold` below it; `cooldown` scores after each change count for nothing. gap:
    while it stops it trains at every gap-th of its turns. resets: shares of the training at which all begin anew.
    """

    patience: Count = 1
    threshold: NotNegative = 0.001
    continue_threshold: NotNegative = 0.005
    cooldown: Count = 1
    gap: AtLeastOne = 4
    resets: tuple[Share, ...] = ()


@dataclass(frozen=True)
class TrainingConfig:
    """Algorithm 1 and its optimizer. Defaults: section 5.2 of the paper; cycle_updates is its C.

    init_from: a checkpoint to start from; the training inherits what has trained it. The others: docs/training.md.
    """

    plan: str = "{out}/plan.json"
    cycle_updates: AtLeastOne = 20
    learning_rate: Positive = 0.001
    betas: tuple[Beta, Beta] = (0.9, 0.99)
    decay: Positive = 0.5
    gradient_clip: NotNegative = 0.0
    precision: Precision = "auto"
    device: str = "auto"
    curriculum: Curriculum = False
    evaluate_every: Count = 0
    checkpoint_every: AtLeastOne = 10
    init_from: str = ""
    accumulate: AtLeastOne = 1
    compile: bool = False
    patience: Count = 0
    keep_last: AtLeastOne = 1
    optimizer: OptimizerKind = "adam"
    weight_decay: NotNegative = 0.0
    part_rates: dict[str, Positive] = field(default_factory=dict)
    schedule: ScheduleKind = "halving"
    warmup: Share = 0.0
    sampling: Sampling = "periodic"
    stop_and_go: StopAndGoConfig | None = None


@dataclass(frozen=True)
class CombinationsConfig:
    """The stage train-combinations: the seeds of every combination, and how many trainings at once (0: one a core).

    train: which sets of tasks (training/combinations.py); without it every combination of the run's tasks. groups: name
    → its tasks. sets: further sets by name. finetune: keys of `training` and their values where a task alone goes on
    from the training of all.
    """

    seeds: tuple[int, ...] = (0, 1, 2)
    jobs: Count = 0
    train: tuple[CombinationKind, ...] = ()
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    sets: dict[str, tuple[str, ...]] = field(default_factory=dict)
    finetune: dict[str, Any] = field(default_factory=dict)


def check_combinations(chosen: CombinationsConfig, known: Sequence[str], *, where: str) -> None:
    """Raises ConfigError for sets of tasks that cannot be trained. known: the run's tasks."""
    for kind, sets in (("groups", chosen.groups), ("sets", chosen.sets)):
        for name, tasks in sets.items():
            unknown = [task for task in tasks if task not in known]
            if unknown or not tasks or len(set(tasks)) < len(tasks):
                raise ConfigError(
                    f"{where}: combinations.{kind}.{name} is {list(tasks)}: name different tasks of the run "
                    f"({', '.join(known)})"
                )
    grouped = [task for tasks in chosen.groups.values() for task in tasks]
    twice = sorted({task for task in grouped if grouped.count(task) > 1})
    if twice:
        raise ConfigError(f"{where}: combinations.groups: {', '.join(twice)} stands in more than one group")
    if {"groups", "pairs"} & set(chosen.train) and not chosen.groups:
        raise ConfigError(f"{where}: combinations.train asks for groups, and combinations.groups names none")
    if "finetuned" in chosen.train and "all" not in chosen.train:
        raise ConfigError(f"{where}: combinations.train: finetuned starts from the training of all: name `all` too")


def check_decoders(decoders: Mapping[str, str], part_rates: Iterable[str], *, where: str) -> None:
    """Raises ConfigError for names of decoders that cannot be, and rates of decoders that the run has not.

    decoders: task → the name of its decoder.
    """
    for task, name in decoders.items():
        if not re.fullmatch(r"[\w-]+", name):
            raise ConfigError(f"{where}: tasks.{task}.decoder is {name!r}: a name has letters, digits, _ and - alone")
        if decoders.get(name, name) != name:
            raise ConfigError(
                f"{where}: tasks.{task}.decoder is {name}, a task whose own decoder is {decoders[name]}. Name that "
                "one to share it, or one that is no task's name"
            )
    for part in part_rates:
        if part.startswith("decoders.") and part.split(".")[1] not in decoders.values():
            known = ", ".join(dict.fromkeys(decoders.values()))
            raise ConfigError(f"{where}: training.part_rates: {part}: the run has no such decoder; it has {known}")
