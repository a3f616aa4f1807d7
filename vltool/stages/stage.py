"""What a stage of a run is, and who is told how it goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from vltool.config import RunConfig


class Listener(Protocol):
    """Who is told how a run goes; the command line shows it."""

    def say(self, text: str) -> None: ...

    def progress(self, label: str, done: int, total: int) -> None: ...

    def table(self, title: str, columns: list[str], rows: list[list[str]]) -> None:
        """A table in place of the one before: how something stands just now."""


@dataclass(frozen=True)
class Stage:
    """run(config, listener) gives JSON-able counts; reads(config) everything its result depends on."""

    run: Callable[[RunConfig, Listener], dict[str, Any]]
    reads: Callable[[RunConfig], dict[str, Any]]
