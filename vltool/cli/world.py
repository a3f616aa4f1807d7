"""vltool world: the generated world in the official file formats."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vltool.cli.console import Console, print_json, print_lines
from vltool.cli.options import Json


def command(
    out: Annotated[Path, typer.Argument(help="Folder to write to.")],
    train: Annotated[int, typer.Option(min=4, help="Training pictures.")] = 600,
    val: Annotated[int, typer.Option(min=4, help="Validation pictures.")] = 150,
    test: Annotated[int, typer.Option(min=4, help="Test pictures.")] = 200,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 0,
    questions_per_image: Annotated[int, typer.Option(min=1, help="Questions about each picture.")] = 8,
    twelve: Annotated[
        bool, typer.Option("--twelve", help="The further datasets of 12-in-1 too, and the pictures they have alone.")
    ] = False,
    json: Json = False,
) -> None:
    """Write a generated world: pictures, COCO captions and instances, Karpathy split, VQA v2, Flickr30k Entities."""
    from vltool.world.files import write_world

    with Console() as console:
        counts = write_world(
            out,
            num_train=train,
            num_val=val,
            num_test=test,
            seed=seed,
            questions_per_image=questions_per_image,
            twelve=twelve,
            progress=lambda done, total: console.progress("drawing pictures", done, total),
        )
    if json:
        print_json({"out": str(out), **counts})
    else:
        print_lines(f"{out}: " + ", ".join(f"{value:,} {name}" for name, value in counts.items() if type(value) is int))
        for name, splits in counts.get("twelve", {}).items():
            if isinstance(splits, dict):
                print_lines(f"  {name}: " + ", ".join(f"{value:,} {split}" for split, value in splits.items()))
