"""One update: forward, backward, Adam. Section 5.2 of the paper: Adam, halved after every #step updates."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from vltool.errors import TrainingError
from vltool.models.joint_model import JointModel
from vltool.models.precision import compute_in
from vltool.structures import Batch
from vltool.tasks.task import Task


class Updater:
    """Adam on a joint model, one task at a time.

    Parameters that a task does not reach have no gradient (None, not zero) and stay bit for bit as they are.
    Dropout is seeded from (seed, number of the update), so that a resumed training draws the same masks.
    """

    def __init__(
        self,
        model: JointModel,
        *,
        learning_rate: float,
        betas: tuple[float, float],
        decay: float,
        step_size: int,
        gradient_clip: float = 0.0,
        precision: str = "float32",
        device: torch.device | str = "cpu",
        seed: int = 0,
    ):
        self.model = model
        self.optimizer = torch.optim.Adam(
            [parameter for parameter in model.parameters() if parameter.requires_grad], lr=learning_rate, betas=betas
        )
        self.base_rate, self.decay, self.step_size = learning_rate, decay, step_size
        self.gradient_clip = gradient_clip
        self.precision, self.device, self.seed = precision, torch.device(device), seed
        self.num_updates = 0

    @property
    def learning_rate(self) -> float:
        """Halved (times `decay`) after every `step_size` updates."""
        return self.base_rate * self.decay ** (self.num_updates // self.step_size)

    def update(self, task: Task[Any], batch: Batch, *, weight: float = 1.0) -> float:
        """One step on `weight` times the loss of one task; gives the loss itself.

        Raises TrainingError if the loss or a gradient is not finite.
        """
        torch.manual_seed((self.seed << 32) + self.num_updates)
        self.model.train()
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate
        self.optimizer.zero_grad(set_to_none=True)
        with compute_in(self.precision, self.device):
            loss = self.model.loss(task, batch)
        value = loss.item()
        self._check_finite(value, task, batch, "the loss")
        (weight * loss).backward()
        norm = float(self._clip())
        self._check_finite(norm, task, batch, "a gradient")
        self.optimizer.step()
        self.num_updates += 1
        return value

    def _clip(self) -> Tensor:
        limit = self.gradient_clip or math.inf
        return torch.nn.utils.clip_grad_norm_(self.model.parameters(), limit)

    def _check_finite(self, value: float, task: Task[Any], batch: Batch, what: str) -> None:
        if not math.isfinite(value):
            first = ", ".join(batch.example_ids[:5])
            raise TrainingError(
                f"{what} of task {task.name!r} is {value} at update {self.num_updates} (examples {first}, …). The last "
                "checkpoint is kept. Lower training.learning_rate, set training.gradient_clip, or use "
                "training.precision=float32"
            )
