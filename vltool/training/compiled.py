"""torch.compile of a joint model's loss, with errors that say what to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from vltool.errors import TrainingError
from vltool.models.joint_model import JointModel
from vltool.structures import Batch

Loss = Callable[[Any, Batch], Tensor]
"""(task, batch) → the task's loss."""


def compile_loss(model: JointModel, *, backend: str | Callable[..., Any] = "inductor") -> Loss:
    """`model.loss`, compiled when it is first called: one program for each task, for batches of any size.

    What it then computes is the same up to rounding. Raises TrainingError where torch cannot compile.
    """
    compiled = torch.compile(model.loss, dynamic=True, backend=backend)

    def loss(task: Any, batch: Batch) -> Tensor:
        try:
            return compiled(task, batch)
        except Exception as error:
            if not is_of_compiler(error):
                raise
            raise TrainingError(
                f"training.compile: torch {torch.__version__} cannot compile the network here "
                f"({_first_words(error)}). Set training.compile=false, or install what is missing (on a CPU a C++ "
                "compiler, named by CXX if it is not g++)"
            ) from error

    return loss


def is_of_compiler(error: BaseException) -> bool:
    """Whether an error comes from torch's compiler, not from the network."""
    return type(error).__module__.startswith(("torch._dynamo", "torch._inductor"))


def _first_words(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join([f"{type(error).__name__}:", *lines[:2]])
