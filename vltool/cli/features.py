"""vltool features …: look at and check stores."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vltool.cli.console import print_json, print_lines
from vltool.cli.options import Json

app = typer.Typer(help="Look at and check stores of region features.", no_args_is_help=True)
Store = Annotated[Path, typer.Argument(metavar="STORE", help="The store's folder.")]


@app.command("info")
def info_command(store: Store, json: Json = False) -> None:
    """What a store holds and how it was made."""
    from vltool.features.store import info

    found = info(store)
    if json:
        print_json(found)
    else:
        print_lines(*(f"{name:14} {value}" for name, value in found.items()))


@app.command("show")
def show_command(
    store: Store,
    image_id: Annotated[str, typer.Argument(metavar="ID", help="Canonical image id, as in coco:391895.")],
    npz: Annotated[Path | None, typer.Option(help="Write the arrays to this file.")] = None,
    json: Json = False,
) -> None:
    """One image's regions: boxes, classes and attributes; --npz writes every array."""
    from vltool.features.show import describe, save_npz

    found = describe(store, image_id)
    if npz is not None:
        save_npz(store, image_id, npz)
    if json:
        print_json(found)
    else:
        print_lines(f"{found['image_id']}  {found['width']} x {found['height']}  {found['num_regions']} regions")
        for region in found["regions"]:
            box = " ".join(f"{value:8.1f}" for value in region["box"])
            print_lines(f"{box}  {region['attribute'] or ''} {region['class'] or ''}  {region['score'] or 0:.2f}")


@app.command("verify")
def verify_command(store: Store, json: Json = False) -> None:
    """Read every record and its checksum; exit code 2 names the damaged ones."""
    from vltool.features.store import verify

    damaged = verify(store)
    if json:
        print_json({"damaged": damaged})
    elif not damaged:
        print_lines(f"{store}: every record is whole")
    if damaged:
        typer.echo(f"vltool: {store}: {len(damaged)} damaged records: {', '.join(damaged[:20])}", err=True)
        raise typer.Exit(2)
