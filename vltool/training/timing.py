"""How long steps of a training take, for whoever says beforehand how long all of it will."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from vltool.config import TrainingConfig
from vltool.models.joint_model import JointModel
from vltool.models.precision import resolve_precision
from vltool.structures import TaskPlan
from vltool.training.rates import optimizer_of
from vltool.training.update import Updater


def updater_to_time(settings: TrainingConfig, model: JointModel, plan: TaskPlan, device: torch.device) -> Updater:
    """Makes the updates of one task as a training of it alone does, without compiling the network."""
    return Updater(
        model,
        optimizer_of(model, settings, step_size=plan.step_size, num_turns=plan.num_updates),
        gradient_clip=settings.gradient_clip,
        precision=resolve_precision(settings.precision, device),
        device=device,
        accumulate=settings.accumulate,
    )


def seconds_of(step: Callable[[], object], device: torch.device) -> float:
    """Of one step, until a GPU has done it too."""
    started = time.perf_counter()
    step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def readable(seconds: float) -> str:
    """As in 40 s, 12 min, 3.5 h, 2.5 days."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"
