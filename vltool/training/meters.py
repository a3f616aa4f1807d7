"""What each task did since its last line in the log: losses, gradients, speed, waiting."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pydantic import ConfigDict

from vltool.training.update import Step


@dataclass
class Meter:
    """One task's updates since its last line. seconds: of the updates and of waiting for their data (`waited`)."""

    losses: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    num_examples: int = 0
    seconds: float = 0.0
    waited: float = 0.0

    __pydantic_config__ = ConfigDict(extra="forbid")

    def take(self, step: Step, *, num_examples: int, seconds: float, waited: float) -> None:
        self.losses.append(step.loss)
        if math.isfinite(step.gradient_norm):  # infinite where float16 overflowed and nothing was updated
            self.norms.append(step.gradient_norm)
        self.num_examples += num_examples
        self.seconds += seconds
        self.waited += waited

    def line(self) -> dict[str, float]:
        """Means over the updates; waiting: share of the time."""
        seconds = max(self.seconds, 1e-9)
        return {
            "loss": sum(self.losses) / len(self.losses),
            "gradient_norm": sum(self.norms) / max(1, len(self.norms)),
            "examples_per_second": round(self.num_examples / seconds, 3),
            "waiting": round(min(1.0, self.waited / seconds), 4),
        }


def dump_meters(meters: Mapping[str, Meter]) -> dict[str, Any]:
    """Plain values for a checkpoint in the middle of a cycle."""
    return {name: asdict(meter) for name, meter in meters.items() if meter.losses}


def load_meters(plain: Mapping[str, Any], names: list[str]) -> dict[str, Meter]:
    """The meters of tasks, as they stood."""
    return {name: Meter(**plain.get(name, {})) for name in names}
