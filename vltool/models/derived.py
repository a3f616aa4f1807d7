"""What is derived from weights, such as a copy in another number format, kept while they do not change."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from torch import nn

Made = TypeVar("Made")


class DerivesWeights(nn.Module):
    """A module that computes with something derived from its weights.

    derived: what is kept; None outside `unchanged`.
    """

    derived: dict[Hashable, Any] | None = None

    @property
    def keeps_derived(self) -> bool:
        """Whether what is derived now serves many calls, so that work on it pays."""
        return self.derived is not None

    def derive(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """What `make` gives; within `unchanged` it is made once for a key."""
        kept = self.derived
        if kept is None:
            return make()
        if key not in kept:
            kept[key] = make()  # by two threads at once: twice the same
        made: Made = kept[key]
        return made

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles, which have weights of their own: nothing would tell them when these change."""
        return {name: value for name, value in self.__dict__.items() if name != "derived"}


@contextmanager
def unchanged(model: nn.Module) -> Iterator[None]:
    """A block in which no weight of `model` changes, so that what is derived from them is kept from call to call."""
    parts = [part for part in model.modules() if isinstance(part, DerivesWeights) and part.derived is None]
    for part in parts:
        part.derived = {}
    try:
        yield
    finally:
        for part in parts:
            part.derived = None
