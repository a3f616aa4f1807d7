"""How large a step is: the learning rate of each parameter, of each task, at each turn of a plan; Adam and AdamW.

A turn is one update of the plan, made or left out (training/stop_and_go.py): a rate falls as far as the plan goes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import nn

from vltool.errors import ConfigError
from vltool.training_config import OptimizerKind, ScheduleKind, TrainingConfig


@dataclass(frozen=True)
class RateSchedule:
    """The share of its full rate that a parameter has at each turn.

    halving: times `decay` after every `step_size` turns (section 5.2 of Nguyen and Okatani). linear: falls evenly to 0
    at the end of `num_turns`. Either rises evenly before, over the first `warmup` (a share) of all turns.
    """

    step_size: int
    decay: float = 0.5
    kind: ScheduleKind = "halving"
    warmup: float = 0.0
    num_turns: int = 0

    def share_at(self, turn: int) -> float:
        """turn: how many came before. The first rises from one step above 0, so that no update is for nothing."""
        rising = round(self.warmup * self.num_turns)
        if turn < rising:
            return (turn + 1) / rising
        if self.kind == "linear":
            return max(0, self.num_turns - turn) / max(1, self.num_turns - rising)
        return self.decay ** (turn // self.step_size)


@dataclass(frozen=True)
class Rates:
    """Full rates. parts: beginning of parameters' names, as in "decoders" or "encoder.levels.0" → their own rate."""

    learning_rate: float
    parts: Mapping[str, float] = field(default_factory=dict)

    def part_of(self, name: str) -> str:
        """The longest beginning that names a parameter; empty if none does."""
        found = [part for part in self.parts if name == part or name.startswith(f"{part}.")]
        return max(found, key=len, default="")

    def of(self, part: str, task_rate: float | None) -> float:
        """The full rate of a part in an update of a task that has (or has not) a rate of its own."""
        if part:
            return self.parts[part]
        return self.learning_rate if task_rate is None else task_rate


class Optimizer:
    """torch's Adam or AdamW over all that a model learns, each parameter at its own rate.

    A parameter without gradient stays as it is, bit for bit: weights do not decay in updates of other tasks. Those of
    one dimension (biases, gains and biases of layer norms) never decay.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        rates: Rates,
        schedule: RateSchedule,
        betas: tuple[float, float] = (0.9, 0.99),
        kind: OptimizerKind = "adam",
        weight_decay: float = 0.0,
    ):
        """Raises ConfigError for a rate of parameters that the model has not, or a weight decay that Adam has not."""
        if kind == "adam" and weight_decay:
            raise ConfigError("training.weight_decay: adam has none. Set training.optimizer=adamw")
        self.rates, self.schedule = rates, schedule
        groups: dict[tuple[str, bool], list[nn.Parameter]] = {}
        names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                decays = weight_decay > 0 and parameter.ndim > 1
                groups.setdefault((rates.part_of(name), decays), []).append(parameter)
        _check_parts(rates, names)
        self._parts = [part for part, _ in groups]
        new = torch.optim.AdamW if kind == "adamw" else torch.optim.Adam
        self.inner: torch.optim.Optimizer = new(
            [
                {"params": group, "lr": rates.of(part, None), "weight_decay": weight_decay if decays else 0.0}
                for (part, decays), group in groups.items()
            ],
            betas=betas,
            fused=True,  # one pass over a parameter and its moments, not a dozen
        )

    def learning_rate(self, turn: int, task_rate: float | None = None) -> float:
        """The rate at a turn of what has no rate of its own."""
        return self.rates.of("", task_rate) * self.schedule.share_at(turn)

    def set_rates(self, turn: int, task_rate: float | None = None) -> None:
        """Make the next step one of this turn. task_rate: the rate of the task that is updated, if it has its own."""
        share = self.schedule.share_at(turn)
        for part, group in zip(self._parts, self.inner.param_groups, strict=True):
            group["lr"] = self.rates.of(part, task_rate) * share


def optimizer_of(model: nn.Module, settings: TrainingConfig, *, step_size: int, num_turns: int) -> Optimizer:
    """The optimizer that a training asks for. step_size: #step of its plan; num_turns: of the whole plan."""
    return Optimizer(
        model,
        rates=Rates(settings.learning_rate, settings.part_rates),
        schedule=RateSchedule(step_size, settings.decay, settings.schedule, settings.warmup, num_turns),
        betas=settings.betas,
        kind=settings.optimizer,
        weight_decay=settings.weight_decay,
    )


def _check_parts(rates: Rates, names: list[str]) -> None:
    for part in rates.parts:
        if part.startswith("decoders."):
            continue  # of a task that this training may not have: checked with the configuration
        if not any(name == part or name.startswith(f"{part}.") for name in names):
            known = sorted({".".join(name.split(".")[:2]) for name in names})
            raise ConfigError(
                f"training.part_rates: no parameter's name begins with {part!r}. Name encoder, decoders, or parts of "
                f"them such as {', '.join(known[:12])}"
            )
