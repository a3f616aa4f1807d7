"""vltool train-joint: Algorithm 1 from the plan, in one process or several."""

from __future__ import annotations

import sys
from typing import Annotated, Any, Literal

import typer

from vltool.cli.options import Config, Json, Precision, Set
from vltool.cli.stage_command import run_stage


def command(
    config: Config,
    tasks: Annotated[str, typer.Option("--tasks", metavar="a,b", help="Only these tasks, with commas.")] = "",
    protocol: Annotated[
        Literal["clean", "paper", "off"] | None,
        typer.Option(help="Who may train on what (splits.protocol); paper: both trainings of the paper, in turn."),
    ] = None,
    precision: Precision = None,
    processes: Annotated[
        int, typer.Option("--processes", min=1, help="Train in so many processes of this machine, one a GPU.")
    ] = 1,
    overrides: Set = None,
    json: Json = False,
) -> None:
    """Joint training by Algorithm 1; goes on from its last checkpoint. Ctrl-C saves and leaves."""
    from vltool.config import load
    from vltool.engines.processes import is_one_of_many, join
    from vltool.stages import train_joint

    if processes > 1 and not is_one_of_many():
        raise typer.Exit(_launch(processes))
    chosen = [name.strip() for name in tasks.split(",") if name.strip()] or None
    settings = {"splits.protocol": protocol, "training.precision": precision}
    values = [*(overrides or []), *(f"{key}={value}" for key, value in settings.items() if value)]
    with join(load(config, values).training.device) as together:
        run_stage(
            config,
            values,
            lambda run, console: train_joint(run, console, tasks=chosen, processes=together),
            json=json,
            show=_show,
            quiet=not together.is_first,
        )


def _launch(num_processes: int) -> int:
    """Start this very command in several processes; its exit code."""
    from vltool.engines.launch import launch

    ended = launch([sys.executable, "-m", "vltool", *sys.argv[1:]], num_processes)
    if ended.message:
        sys.stderr.write(f"vltool: {ended.message}\n")
    return ended.code


def _show(found: dict[str, Any]) -> list[str]:
    return [
        *(
            f"{task} (val): " + ", ".join(f"{name} {value:.2f}" for name, value in scores.items())
            for task, scores in found["val"].items()
        ),
        *(
            f"checkpoint of {protocol}: {path}"
            for protocol, path in found.get("checkpoints", {"this training": found["checkpoint"]}).items()
        ),
        *(
            f"{name}: of update {best['update']:,}, {best['checkpoint']}"
            for name, best in found.get("best", {}).items()
        ),
    ]
