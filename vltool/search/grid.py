"""The grid of a task: every combination of level, batch size, number of updates and step size (section 4.2).

Any other value of a training may join it: `set: {training.learning_rate: [0.001, 0.0005]}`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from vltool.config import GridConfig, RunConfig, apply_override, dump, from_dict
from vltool.errors import ConfigError
from vltool.structures import TaskPlan
from vltool.tasks.network import check_encoder, encoder_options
from vltool.training.run import check_settings

VALUES = ("level", "batch_size", "num_updates", "step_size")
TRAINING_KEYS = ("learning_rate", "betas", "decay", "gradient_clip", "precision")
"""What a grid may set of `training`; the rest says where files are and how a joint training goes."""

Settings = tuple[tuple[str, str], ...]
"""(key, YAML text of its value), as --set takes them."""


@dataclass(frozen=True)
class Cell:
    """One combination: the plan of a training, and what it sets of the configuration."""

    plan: TaskPlan
    settings: Settings = ()

    @property
    def name(self) -> str:
        """As in l2-b64-u400-s200, or l2-b64-u400-s200-learning_rate=0.0005; names a folder."""
        plan = self.plan
        own = "".join(f"-{key.rpartition('.')[2]}={_plain(value)}" for key, value in self.settings)
        return f"l{plan.level}-b{plan.batch_size}-u{plan.num_updates}-s{plan.step_size}{own}"


def task_grid(config: RunConfig, task: str, *, num_levels: int) -> tuple[Cell, ...]:
    """All cells of one task's grid. A task's own lists replace those of the common grid.

    Raises ConfigError for an empty list, a key that is not a training's, or a value out of range, naming what is legal.
    """
    own = config.search.tasks.get(task, GridConfig())
    lists = {name: _values(config.search.grid, own, name) for name in VALUES}
    if lists["level"] is None:
        lists["level"] = tuple(range(1, num_levels + 1))
    checked = {name: _check(name, values, task, num_levels) for name, values in lists.items()}
    settings = _settings(config, {**_flat(config.search.grid.set), **_flat(own.set)}, task)
    return tuple(
        Cell(TaskPlan(task, **dict(zip(VALUES, values, strict=True))), chosen)
        for values in product(*checked.values())
        for chosen in settings
    )


def with_settings(config: RunConfig, settings: Settings) -> RunConfig:
    """`config` with the settings of a cell. Raises ConfigError for a value that its key cannot have."""
    if not settings:
        return config
    raw = dump(config)
    for key, value in settings:
        apply_override(raw, f"{key}={value}")
    return from_dict(raw, where="search.grid.set")


def _values(common: GridConfig, own: GridConfig, name: str) -> tuple[int, ...] | None:
    found: tuple[int, ...] | None = getattr(own, name)
    return getattr(common, name) if found is None else found


def _check(name: str, values: tuple[int, ...] | None, task: str, num_levels: int) -> tuple[int, ...]:
    where = f"search.grid.{name} (task {task})"
    legal = f"1 to {num_levels}, the encoder's levels" if name == "level" else "1 or more"
    if values is None:
        raise ConfigError(f"{where} is missing: list at least one value, {legal}")
    if not values:
        ending = "; without the key every level is tried" if name == "level" else ""
        raise ConfigError(f"{where} is empty: list at least one value, {legal}{ending}")
    for value in values:
        if value < 1 or (name == "level" and value > num_levels):
            raise ConfigError(f"{where} holds {value}; legal is {legal}")
    return tuple(dict.fromkeys(values))


def _flat(found: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested keys as dotted ones: both stand in YAML, and --set search.grid.set.a.b=[…] nests."""
    flat: dict[str, Any] = {}
    for key, value in found.items():
        flat |= _flat(value, f"{before}{key}.") if isinstance(value, Mapping) else {f"{before}{key}": value}
    return flat


def _settings(config: RunConfig, found: Mapping[str, Any], task: str) -> list[Settings]:
    options = [name for name in vars(encoder_options(config.encoder)) if name != "num_levels"]
    known = [*(f"training.{name}" for name in TRAINING_KEYS), *(f"encoder.options.{name}" for name in options)]
    listed = []
    for key, values in found.items():
        where = f"search.grid.set.{key} (task {task})"
        if key not in known:
            raise ConfigError(f"{where}: not a key that a trial can set; legal are {', '.join(known)}")
        if not isinstance(values, list | tuple) or not values:
            raise ConfigError(f"{where} is {values!r}: give a list of at least one value")
        texts = list(dict.fromkeys(json.dumps(value) for value in values))
        listed.append([(key, text) for text in texts])
    combinations = list(product(*listed))
    for chosen in combinations:
        _check_settings(config, chosen, task)
    return combinations


def _check_settings(config: RunConfig, chosen: Settings, task: str) -> None:
    """Raises ConfigError for values that no training can have together, or not on this machine."""
    changed = with_settings(config, chosen)
    try:
        check_encoder(changed.encoder)
        if chosen:
            check_settings(changed.training)
    except ConfigError as error:
        told = ", ".join(f"{key}={value}" for key, value in chosen)
        raise ConfigError(f"search.grid.set (task {task}) holds {told}: {error}" if told else str(error)) from None


def _plain(value: str) -> str:
    return "".join(letter for letter in value if letter.isalnum() or letter in ".,+-")


def at_share(cell: Cell, share: float) -> TaskPlan:
    """The plan of a cell's training when `share` of its updates is done."""
    return replace(cell.plan, num_updates=max(1, round(cell.plan.num_updates * share)))
