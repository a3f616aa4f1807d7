"""What all commands share: help that shows its [brackets], empty values that are refused, files that can be written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer
from rich.markup import escape
from typer.core import TyperCommand

from vltool.errors import ConfigError
from vltool.json_files import check_place


class Command(TyperCommand):
    """A command whose help is plain text, and whose values are not empty unless the default is."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        if self.rich_markup_mode == "rich":  # which takes [brackets] for its own marks, and leaves them out
            described: list[Any] = [self, *self.params]
            for each in described:
                each.help = escape(each.help) if getattr(each, "help", None) else None

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As typer has it. Raises ConfigError for an empty value: Path("") would be the folder that one is in."""
        if not ctx.resilient_parsing:
            given, _, _ = self.make_parser(ctx).parse_args(args=list(args))
            for parameter in self.params:
                value = given.get(parameter.name)
                is_empty = "" in value if isinstance(value, list | tuple) else isinstance(value, str) and not value
                if is_empty and parameter.default != "":
                    self._refuse(parameter)
        return super().parse_args(ctx, args)

    def _refuse(self, parameter: Any) -> None:
        option = next((name for name in parameter.opts if name.startswith("-")), "")
        name = parameter.metavar or str(parameter.name).upper()
        if not option:
            raise ConfigError(f"{name} is empty. Give a value")
        leave = "" if parameter.required else ", or leave the option out"
        raise ConfigError(f"{option} is empty. Give a value after it{leave}")


class App(typer.Typer):
    """Commands, or the commands of a group, each of them a `Command`."""

    def command(self, name: str | None = None, **settings: Any) -> Callable[[Any], Any]:
        """As typer has it."""
        return super().command(name, cls=Command, **settings)


def file_of(option: str) -> Callable[[str], Path]:
    """What reads the name of a file to write: raises ConfigError, naming the option, where it cannot be written."""

    def file(text: str) -> Path:
        check_place(text, option=option)
        return Path(text)

    return file
