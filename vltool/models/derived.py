"""What is derived from weights, such as a copy in another number format, kept while they do not change."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from torch import nn

Made = TypeVar("Made")


class DerivesWeights(nn.Module):
    """A module that computes with something derived from its weights.

    derived: what is kept; None outside `unchanged`. derived_for_long: whether it serves so many calls that work on it
    pays.
    """

    derived: dict[Hashable, Any] | None = None
    derived_for_long = False

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
        return {name: value for name, value in self.__dict__.items() if name not in ("derived", "derived_for_long")}


@contextmanager
def unchanged(model: nn.Module, *, for_long: bool = False) -> Iterator[None]:
    """A block in which no weight of `model` changes, so that what is derived from them is kept from call to call.

    for_long: for so many calls that work on what is derived pays; none of them is compiled.
    """
    parts = [part for part in model.modules() if isinstance(part, DerivesWeights) and part.derived is None]
    for part in parts:
        part.derived, part.derived_for_long = {}, for_long
    try:
        yield
    finally:
        for part in parts:
            part.derived, part.derived_for_long = None, False
