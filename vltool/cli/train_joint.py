"""vltool train-joint: Algorithm 1 from the plan, in one process or several, here or on a Ray cluster."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vltool.cli.console import Console
from vltool.cli.options import Config, Json, Precision, RayAddress, Set
from vltool.cli.stage_command import run_stage

if TYPE_CHECKING:
    from vltool.engines.launch import Ended


def command(
    config: Config,
    tasks: Annotated[str, typer.Option("--tasks", metavar="a,b", help="Only these tasks, with commas.")] = "",
    protocol: Annotated[
        Literal["clean", "paper", "off"] | None,
        typer.Option(help="Who may train on what (splits.protocol); paper: both trainings of the paper, in turn."),
    ] = None,
    precision: Precision = None,
    processes: Annotated[
        int, typer.Option("--processes", min=1, help="Train in so many processes that share each batch, one a GPU.")
    ] = 1,
    engine: Annotated[
        Literal["local", "ray"], typer.Option(help="Where the processes run: this machine, or a Ray cluster.")
    ] = "local",
    ray_address: RayAddress = "",
    overrides: Set = None,
    json: Json = False,
) -> None:
    """Joint training by Algorithm 1; goes on from its last checkpoint. Ctrl-C saves and leaves."""
    from vltool.config import load
    from vltool.engines.processes import is_started_by_another, join
    from vltool.engines.ray import check_engine
    from vltool.errors import ConfigError
    from vltool.stages.learning import train_joint

    chosen = [name.strip() for name in tasks.split(",")] if tasks else None
    if chosen and not all(chosen):
        raise ConfigError(
            f"--tasks {tasks!r} holds an empty name. Name tasks with commas between them, or leave it out"
        )
    settings = {"splits.protocol": protocol, "training.precision": precision}
    values = [*(overrides or []), *(f"{key}={value}" for key, value in settings.items() if value)]
    device = load(config, values).training.device
    check_engine(engine, ray_address)
    if engine == "ray" and not is_started_by_another():
        raise typer.Exit(_launch_on_ray(processes, ray_address, device))
    if processes > 1 and not is_started_by_another():
        raise typer.Exit(_launch(processes))
    with join(device) as together:
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

    return _code_of(launch([sys.executable, "-m", "vltool", *sys.argv[1:]], num_processes))


def _launch_on_ray(num_processes: int, address: str, device: str) -> int:
    """The same in several places of a Ray cluster."""
    import torch

    from vltool.engines.ray_group import launch_on_ray

    on_gpu = device.startswith("cuda") or (device == "auto" and not address and torch.cuda.is_available())
    with Console() as console:
        return _code_of(
            launch_on_ray(
                ["-m", "vltool", *sys.argv[1:]],
                num_processes,
                address=address,
                gpus_each=float(on_gpu),
                say=console.say,
            )
        )


def _code_of(ended: Ended) -> int:
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
