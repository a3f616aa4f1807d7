"""vltool splits …: make contamination-safe splits and prove them."""

from __future__ import annotations

import typer

from vltool.cli.console import print_json, print_table
from vltool.cli.options import Config, Json, Set

app = typer.Typer(help="Make contamination-safe splits and prove them.", no_args_is_help=True)


@app.command("audit")
def audit_command(config: Config, overrides: Set = None, json: Json = False) -> None:
    """Pictures and examples that are both trained on and evaluated, for every pair of tasks; exit code 2 if any."""
    from vltool.config import load
    from vltool.splits.audit import audit
    from vltool.tasks.prepare import prepare_tasks, split_ids

    prepared = prepare_tasks(load(config, overrides or []))
    found = audit(split_ids(prepared.examples))
    if json:
        print_json(found)
    else:
        rows = [[f"{p['train']} → {p['evaluated']}", str(p["images"]), str(p["examples"])] for p in found["pairs"]]
        print_table("trained on and evaluated", ["pair", "pictures", "examples"], rows)
    if not found["clean"]:
        typer.echo("vltool: the splits are not clean. Set splits.protocol=clean", err=True)
        raise typer.Exit(2)
