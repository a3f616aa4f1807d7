"""vltool train-joint: Algorithm 1 from the plan."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from vltool.cli.options import Config, Json, Set
from vltool.cli.stage_command import run_stage


def command(
    config: Config,
    tasks: Annotated[str, typer.Option("--tasks", metavar="a,b", help="Only these tasks, with commas.")] = "",
    protocol: Annotated[
        Literal["clean", "paper", "off"] | None,
        typer.Option(help="Who may train on what (splits.protocol); paper: both trainings of the paper, in turn."),
    ] = None,
    overrides: Set = None,
    json: Json = False,
) -> None:
    """Joint training by Algorithm 1; goes on from its last checkpoint."""
    from vltool.stages import train_joint

    chosen = [name.strip() for name in tasks.split(",") if name.strip()] or None
    run_stage(
        config,
        [*(overrides or []), *([f"splits.protocol={protocol}"] if protocol else [])],
        lambda run, console: train_joint(run, console, tasks=chosen),
        json=json,
        show=lambda found: [
            *(
                f"{task} (val): " + ", ".join(f"{name} {value:.2f}" for name, value in scores.items())
                for task, scores in found["val"].items()
            ),
            *(
                f"checkpoint of {protocol}: {path}"
                for protocol, path in found.get("checkpoints", {"this training": found["checkpoint"]}).items()
            ),
        ],
    )
