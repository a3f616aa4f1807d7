"""One shared encoder, and a decoder for each task or for several, each reading its own level (the paper's Figure 1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import torch
from torch import Tensor, nn

from vltool.errors import ConfigError
from vltool.models.co_attention import at_least_float32
from vltool.models.derived import unchanged
from vltool.models.encoder import Encoder, PreparedSide
from vltool.structures import Batch

SCORED_AT_ONCE = 256
"""Rows that are scored at once while a task chooses; what a CPU's caches like best."""


class Learnable(Protocol):
    """What the joint model asks of a task."""

    @property
    def name(self) -> str: ...

    def choose_rows(self, batch: Batch, score: Callable[[Tensor], Tensor]) -> Batch: ...

    def loss(self, logits: Tensor, batch: Batch) -> Tensor: ...


class JointModel(nn.Module):
    """The network of all tasks. A step on task i touches its decoder, the embeddings and levels 1 ... l(i) alone.

    levels: by task name. decoders: by their own names; uses: task → the name of its decoder, where that is not the
    task's. Tasks that use the same decoder read the same level.
    """

    def __init__(
        self,
        encoder: Encoder,
        decoders: Mapping[str, nn.Module],
        levels: Mapping[str, int],
        *,
        uses: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.uses = {name: (uses or {}).get(name, name) for name in levels}
        if set(decoders) != set(self.uses.values()):
            raise ConfigError(
                f"there are decoders {sorted(decoders)}, and the tasks {sorted(levels)} use "
                f"{sorted(set(self.uses.values()))}. Give every task one decoder and one level."
            )
        check_shared_levels(levels, self.uses)
        for name in decoders:
            if hasattr(nn.ModuleDict, name):
                raise ConfigError(f"{name!r} is no name for a decoder: torch's own ModuleDict has it. Choose another")
        self.encoder = encoder
        self.decoders = nn.ModuleDict(dict(decoders))
        self.levels = {name: encoder.check_level(level) for name, level in levels.items()}  # l(i)

    def level(self, task_name: str) -> int:
        """l(i): the encoder level that the task's decoder reads."""
        self._check_task(task_name)
        return self.levels[task_name]

    def decoder(self, task_name: str) -> nn.Module:
        """The decoder that a task uses, its own or shared."""
        self._check_task(task_name)
        return self.decoders[self.uses[task_name]]

    def logits(self, task_name: str, batch: Batch) -> Tensor:
        """decoder_i(encoder(batch, level=l(i))); shape as the task's decoder says."""
        decoder = self.decoder(task_name)
        return decoder(self.encoder(batch, level=self.levels[task_name]), batch.inputs)

    def loss(self, task: Learnable, batch: Batch) -> Tensor:
        """The task's loss on the rows that it chooses of the batch, a scalar in float32 at least.

        Level 0 runs once for both the choosing and the learning.
        """
        decoder, level = self.decoder(task.name), self.levels[task.name]
        with unchanged(self):
            images, sentences = self.encoder.sides(batch)

            def score(rows: Tensor) -> Tensor:
                return self._scores(decoder, level, images, sentences, rows)

            batch = task.choose_rows(batch, score)
            state = self.encoder.row_states(images, sentences, batch.rows, level=level)
            return task.loss(at_least_float32(decoder(state, batch.inputs)), batch)

    def _scores(
        self, decoder: nn.Module, level: int, images: PreparedSide, sentences: PreparedSide, rows: Tensor
    ) -> Tensor:
        """Logits of rows (N, 2), as the decoder gives them, without gradient or dropout above level 0."""
        was_training, kind = self.training, rows.device.type
        self.eval()
        # Weights that autocast casts here have no gradient, and it would hand them to the learning pass.
        cast_anew = torch.autocast(kind, enabled=torch.is_autocast_enabled(kind), cache_enabled=False)
        try:
            with torch.no_grad(), cast_anew:
                found = [
                    decoder(self.encoder.row_states(images, sentences, chosen, level=level), {})
                    for chosen in rows.split(SCORED_AT_ONCE)
                ]
        finally:
            self.train(was_training)
        return torch.cat(found).float()

    def _check_task(self, task_name: str) -> None:
        if task_name not in self.levels:
            raise ConfigError(f"this model has no task {task_name!r}. It has: {', '.join(sorted(self.levels))}.")


def check_shared_levels(levels: Mapping[str, int], uses: Mapping[str, str]) -> None:
    """Raises ConfigError where tasks that use one decoder read different levels. uses: task → its decoder's name."""
    for decoder in dict.fromkeys(uses[name] for name in levels):
        found = {name: level for name, level in levels.items() if uses[name] == decoder}
        if len(set(found.values())) > 1:
            told = ", ".join(f"{name} level {level}" for name, level in found.items())
            raise ConfigError(
                f"decoder {decoder!r} is shared by tasks that read different levels: {told}. Give them the same level "
                "in the plan, or decoders of their own (tasks.NAME.decoder)"
            )
