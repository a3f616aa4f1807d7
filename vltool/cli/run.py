"""vltool run: the stages of a pipeline file in order."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vltool.cli.console import Console, print_json
from vltool.cli.options import Json, Set
from vltool.cli.summary import print_summary

if TYPE_CHECKING:
    from vltool.config import RunConfig


def command(
    pipeline: Annotated[Path, typer.Argument(metavar="PIPELINE.yaml", help="A run with its stages; see pipelines/.")],
    overrides: Set = None,
    dry: Annotated[
        bool, typer.Option("--dry-run", help="Check every file, and estimate time, disk and memory; run nothing.")
    ] = False,
    json: Json = False,
) -> None:
    """Run the stages of a pipeline file, skipping what is up to date."""
    from vltool.config import load
    from vltool.pipeline import run_pipeline

    config = load(pipeline, overrides or [])
    if dry:
        rehearse(config, json=json)
        return
    with Console() as console:
        results = run_pipeline(config, console)
    if json:
        stages = {
            name: {**result.counts, "seconds": result.seconds, "up_to_date": result.up_to_date}
            for name, result in results.items()
        }
        print_json({"out": config.out, "stages": stages})
    else:
        print_summary(results, config)


def rehearse(config: RunConfig, *, json: bool) -> None:
    """Print what a dry run finds; exit code 2 where anything is missing or wrong."""
    from vltool.cli.dry_run import print_dry_run
    from vltool.dry_run.check import dry_run

    with Console() as console:
        found = dry_run(config, console)
    if json:
        print_json({"out": config.out, **found.to_json()})
    else:
        print_dry_run(found)
    if not found.is_ready:
        raise typer.Exit(2)
