"""vltool demo: the whole road on the generated world."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from vltool.cli.console import Console, print_json
from vltool.cli.options import Json, Set
from vltool.cli.summary import print_summary

DEMO = Path(__file__).parents[1] / "world" / "demo.yaml"


def command(
    out: Annotated[Path, typer.Option(help="Folder of the demo; running it again goes on there.")] = Path("demo"),
    seed: Annotated[int, typer.Option(help="Seed of the world and of every training.")] = 0,
    overrides: Set = None,
    json: Json = False,
) -> None:
    """Pictures, region features, text, layer search, joint training, clean-split evaluation, report."""
    from vltool.config import load
    from vltool.pipeline import run_pipeline

    config = load(DEMO, [f"out={out}", f"seed={seed}", f"world.seed={seed}", *(overrides or [])])
    started = time.perf_counter()
    with Console() as console:
        results = run_pipeline(config, console)
        console.say(f"{time.perf_counter() - started:.0f} seconds")
    if json:
        print_json(
            {
                "seconds": time.perf_counter() - started,
                "stages": {name: result.seconds for name, result in results.items()},
                "levels": results["search-layers"].counts["levels"],
                "test": results["eval"].counts["test"],
                "report": results["report"].counts["report"],
            }
        )
    else:
        print_summary(results, config)
