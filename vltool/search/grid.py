"""The grid of a task: every combination of level, batch size, number of updates and step size (section 4.2)."""

from __future__ import annotations

from itertools import product

from vltool.config import GridConfig, RunConfig
from vltool.errors import ConfigError
from vltool.structures import TaskPlan

VALUES = ("level", "batch_size", "num_updates", "step_size")


def task_grid(config: RunConfig, task: str, *, num_levels: int) -> tuple[TaskPlan, ...]:
    """All cells of one task's grid. A task's own lists replace those of the common grid.

    Raises ConfigError for an empty list or a value out of range, naming the legal range.
    """
    own = config.search.tasks.get(task, GridConfig())
    lists = {name: tuple(getattr(own, name) or getattr(config.search.grid, name)) for name in VALUES}
    if not lists["level"]:
        lists["level"] = tuple(range(1, num_levels + 1))
    for name, values in lists.items():
        where = f"search.grid.{name} (task {task})"
        if not values:
            raise ConfigError(f"{where} is empty: name at least one value")
        wrong = [value for value in values if value < 1 or (name == "level" and value > num_levels)]
        if wrong:
            legal = f"1 to {num_levels}, the encoder's levels" if name == "level" else "1 or more"
            raise ConfigError(f"{where} holds {wrong[0]}; legal is {legal}")
    return tuple(
        TaskPlan(task, **dict(zip(VALUES, cell, strict=True)))
        for cell in product(*(dict.fromkeys(lists[name]) for name in VALUES))
    )
