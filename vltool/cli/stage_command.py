"""How a command that is one stage of a run goes: load the configuration, run the stage, print what it counted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from vltool.cli.console import Console, print_json, print_lines


def run_stage(
    config_path: Path,
    overrides: list[str] | None,
    run: str | Callable[[Any, Console], dict[str, Any]],
    *,
    json: bool,
    show: Callable[[dict[str, Any]], list[str]],
    quiet: bool = False,
) -> dict[str, Any]:
    """Counts of the stage; printed as JSON or by `show`.

    run: the stage's name, to skip it where it is up to date, or what it does. quiet: another process speaks and writes
    for this one.
    """
    from vltool import pipeline
    from vltool.config import load

    config = load(config_path, overrides or [])
    with Console(quiet=quiet) as console:
        if isinstance(run, str):
            counts = pipeline.run_stage(config, console, run).counts
        else:
            counts = run(config, console)
    if quiet:
        return counts
    if not isinstance(run, str):
        pipeline.write_config(config)
    if json:
        print_json(counts)
    else:
        print_lines(*show(counts))
    return counts
