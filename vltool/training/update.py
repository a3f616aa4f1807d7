"""One update: forward, backward, a step of the optimizer (training/rates.py: the rate of that step)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from vltool.engines.processes import ALONE, Processes
from vltool.errors import TrainingError
from vltool.models.joint_model import JointModel
from vltool.models.precision import compute_in
from vltool.structures import Batch
from vltool.tasks.task import Task
from vltool.training.compiled import Loss
from vltool.training.gradients import add_up_gradients
from vltool.training.memory import explaining_memory
from vltool.training.parts import part_of, seed_of_part
from vltool.training.rates import Optimizer

LOWEST_SCALE = 1.0
"""A float16 gradient that is not finite even at this scale is no overflow."""


@dataclass(frozen=True)
class Step:
    """What an update saw. gradient_norm: before clipping; infinite where float16 overflowed and no step was made."""

    loss: float
    gradient_norm: float


class Updater:
    """Steps of `optimizer` on a joint model, one task at a time.

    Parameters that a task does not reach have no gradient (None, not zero) and stay bit for bit as they are.
    Dropout is seeded from (seed, number of the update, number of the part), so that a resumed training draws the
    same masks. A batch is cut into `accumulate` parts for each of the `processes`, this process computes its own,
    and their gradients add up to that of the whole batch.

    num_updates: made so far. num_turns: of the plan gone by, those that a task has left out included.
    """

    def __init__(
        self,
        model: JointModel,
        optimizer: Optimizer,
        *,
        gradient_clip: float = 0.0,
        precision: str = "float32",
        device: torch.device | str = "cpu",
        seed: int = 0,
        accumulate: int = 1,
        processes: Processes = ALONE,
        scaler: torch.amp.GradScaler | None = None,
        loss: Loss | None = None,
    ):
        self.model = model
        self.optimizer = optimizer
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.gradient_clip = gradient_clip
        self.precision, self.device, self.seed = precision, torch.device(device), seed
        self.accumulate, self.processes = accumulate, processes
        self.scaler = scaler or torch.amp.GradScaler(self.device.type, enabled=precision == "float16")
        if self.scaler.is_enabled():
            self.scaler.scale(torch.zeros((), device=self.device))  # it is made on first use, which may be a part's
        self.loss = loss or model.loss
        self.num_updates = self.num_turns = 0

    def pass_turn(self) -> None:
        """Leave an update of the plan out."""
        self.num_turns += 1

    def update(self, task: Task[Any], batch: Batch, *, weight: float = 1.0, rate: float | None = None) -> Step:
        """One step on `weight` times the loss of one task; gives the loss itself. rate: the task's own learning rate.

        Raises TrainingError if the loss or a gradient is not finite, or memory runs out.
        """
        self.model.train()
        optimizer = self.optimizer.inner
        self.optimizer.set_rates(self.num_turns, rate)
        optimizer.zero_grad(set_to_none=True)
        num_parts = self.accumulate * self.processes.size
        with explaining_memory(
            f"at update {self.num_updates} of task {task.name!r} (a batch of {batch.num_examples} examples"
            + (f" in {num_parts} parts)" if num_parts > 1 else ")"),
            f"Raise training.accumulate (now {self.accumulate}): the batch is then computed in more parts, with the "
            f"same gradient. Or lower batch_size of {task.name} in the plan, or the encoder's width or levels",
        ):
            own = sum(self._backward(task, batch, number, weight) for number in range(self.accumulate))
            loss = add_up_gradients(self.parameters, own, self.processes)
            self._check_finite(loss, task, batch, "the loss")
            self.scaler.unscale_(optimizer)
            norm = self._clip()
            if not self.scaler.is_enabled() or self.scaler.get_scale() <= LOWEST_SCALE:
                self._check_finite(norm, task, batch, "a gradient")
            self.scaler.step(optimizer)  # float16 alone: leaves the step out where a gradient overflowed
            self.scaler.update()
        self.num_updates += 1
        self.num_turns += 1
        return Step(loss, norm)

    def _backward(self, task: Task[Any], batch: Batch, number: int, weight: float) -> float:
        """Add the gradient of one of this process's parts; gives what it adds to the loss of the batch."""
        number += self.processes.rank * self.accumulate
        part = part_of(batch, number, self.processes.size * self.accumulate)
        if part is None:
            return 0.0
        share = task.loss_terms(part) / task.loss_terms(batch)
        part = part.to(self.device)
        torch.manual_seed(seed_of_part(self.seed, self.num_updates, number))
        with compute_in(self.precision, self.device):
            loss = self.loss(task, part)
        self.scaler.scale(weight * share * loss).backward()
        return loss.item() * share

    def _clip(self) -> float:
        limit = self.gradient_clip or math.inf
        return float(torch.nn.utils.clip_grad_norm_(self.model.parameters(), limit))

    def _check_finite(self, value: float, task: Task[Any], batch: Batch, what: str) -> None:
        if not math.isfinite(value):
            first = ", ".join(batch.example_ids[:5])
            raise TrainingError(
                f"{what} of task {task.name!r} is {value} at update {self.num_updates} (examples {first}, …). The last "
                "checkpoint is kept. Lower training.learning_rate, set training.gradient_clip, or use "
                "training.precision=float32"
            )
