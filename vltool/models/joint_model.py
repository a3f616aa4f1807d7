"""One shared encoder and a decoder per task, each reading its own level (Figure 1 of the paper)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor, nn

from vltool.errors import ConfigError
from vltool.models.encoder import Encoder
from vltool.structures import Batch


class HasLoss(Protocol):
    """What the joint model asks of a task."""

    @property
    def name(self) -> str: ...

    def loss(self, logits: Tensor, batch: Batch) -> Tensor: ...


class JointModel(nn.Module):
    """The network of all tasks. A step on task i touches decoder i, the embeddings and levels 1 ... l(i) alone.

    decoders and levels: by task name, the same names in both.
    """

    def __init__(self, encoder: Encoder, decoders: Mapping[str, nn.Module], levels: Mapping[str, int]) -> None:
        super().__init__()
        if set(decoders) != set(levels):
            raise ConfigError(
                f"decoders are for the tasks {sorted(decoders)}, levels for {sorted(levels)}. "
                "Give every task one decoder and one level."
            )
        self.encoder = encoder
        self.decoders = nn.ModuleDict(dict(decoders))
        self.levels = {name: encoder.check_level(level) for name, level in levels.items()}  # l(i)

    def level(self, task_name: str) -> int:
        """l(i): the encoder level that the task's decoder reads."""
        self._check_task(task_name)
        return self.levels[task_name]

    def decoder(self, task_name: str) -> nn.Module:
        self._check_task(task_name)
        return self.decoders[task_name]

    def logits(self, task_name: str, batch: Batch) -> Tensor:
        """decoder_i(encoder(batch, level=l(i))); shape as the task's decoder says."""
        decoder = self.decoder(task_name)
        return decoder(self.encoder(batch, level=self.levels[task_name]), batch.inputs)

    def loss(self, task: HasLoss, batch: Batch) -> Tensor:
        """The task's loss on the batch, a scalar."""
        return task.loss(self.logits(task.name, batch), batch)

    def _check_task(self, task_name: str) -> None:
        if task_name not in self.decoders:
            raise ConfigError(f"this model has no task {task_name!r}. It has: {', '.join(sorted(self.decoders))}.")
