"""How a command that is one stage of a run goes: load the configuration, run the stage, print what it counted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from vltool.cli.console import Console, print_json, print_lines


def run_stage(
    config_path: Path,
    overrides: list[str] | None,
    run: Callable[[Any, Console], dict[str, Any]],
    *,
    json: bool,
    show: Callable[[dict[str, Any]], list[str]],
    keep: bool = True,
) -> dict[str, Any]:
    """Counts of the stage; printed as JSON or by `show`. keep: leave the configuration beside its results."""
    from vltool.config import load
    from vltool.pipeline import write_config

    config = load(config_path, overrides or [])
    with Console() as console:
        counts = run(config, console)
    if keep:
        write_config(config)
    if json:
        print_json(counts)
    else:
        print_lines(*show(counts))
    return counts
