"""The configuration of the layer search: its grid, how much of it is run, and by what engine.

search:
  strategy: halving
  seeds: [0, 1, 2]
  grid: {level: [1, 2, 3], batch_size: [64], num_updates: [400], step_size: [300],
         set: {training.learning_rate: [0.001, 0.0005]}}
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

Whole = Annotated[int, Field(strict=True)]  # strict: true and 2.0 are no levels


@dataclass(frozen=True)
class GridConfig:
    """The values that the search tries (section 4.2 of the paper); a task's own grid replaces single lists.

    level: by default every level of the encoder. set: any other value of a training by its key, as --set names it.
    """

    level: tuple[Whole, ...] | None = None
    batch_size: tuple[Whole, ...] | None = None
    num_updates: tuple[Whole, ...] | None = None
    step_size: tuple[Whole, ...] | None = None
    set: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class HalvingConfig:
    """Successive halving: the best 1/factor of a task's cells go on, each time to factor times the updates.

    rungs: how often cells are compared; the last has the grid's own number of updates.
    """

    factor: Whole = 3
    rungs: Whole = 3


@dataclass(frozen=True)
class BudgetConfig:
    """How much of the grid is run. trials: at most so many, drawn from the grid (0: all of them).

    hours: after so many no trial begins and running ones stop at their last checkpoint (0: no limit).
    """

    trials: Annotated[int, Field(ge=0, strict=True)] = 0
    hours: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0


@dataclass(frozen=True)
class SearchConfig:
    """The layer search of a run.

    tasks: a task's own grid. seeds: of every cell (default: the run's own seed). preset: write a published plan, search
    nothing. jobs: trials at once (0: one a core, or one a GPU). ray_address: of a running cluster (default: start one).
    """

    grid: GridConfig = field(default_factory=GridConfig)
    tasks: dict[str, GridConfig] = field(default_factory=dict)
    strategy: Literal["grid", "halving"] = "grid"
    halving: HalvingConfig = field(default_factory=HalvingConfig)
    seeds: tuple[Annotated[int, Field(lt=2**32, strict=True)], ...] | None = None
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    preset: Literal["", "paper"] = ""
    engine: Literal["local", "ray"] = "local"
    jobs: Annotated[int, Field(ge=0, strict=True)] = 0
    ray_address: str = ""
