"""vltool run: the stages of a pipeline file in order."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vltool.cli.console import Console, print_json
from vltool.cli.options import Json, Set
from vltool.cli.summary import print_summary


def command(
    pipeline: Annotated[Path, typer.Argument(metavar="PIPELINE.yaml", help="A run with its stages; see pipelines/.")],
    overrides: Set = None,
    json: Json = False,
) -> None:
    """Run the stages of a pipeline file, skipping what is up to date."""
    from vltool.config import load
    from vltool.pipeline import run_pipeline

    config = load(pipeline, overrides or [])
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
