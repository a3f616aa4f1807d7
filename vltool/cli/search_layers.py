"""vltool search-layers: which encoder layer, batch size, number of updates and step size for each task."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from vltool.cli.options import Config, Json, Precision, Set, TaskNames
from vltool.cli.stage_command import run_stage


def command(
    config: Config,
    tasks: TaskNames = None,
    strategy: Annotated[
        Literal["grid", "halving"] | None, typer.Option(help="The full grid, or successive halving over it.")
    ] = None,
    engine: Annotated[Literal["local", "ray"] | None, typer.Option(help="Processes here, or a Ray cluster.")] = None,
    jobs: Annotated[int | None, typer.Option(min=0, help="Trials at once; 0: one a core, or one a GPU.")] = None,
    ray_address: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="A running Ray cluster; without it one is started here.")
    ] = None,
    budget_trials: Annotated[
        int | None, typer.Option(min=0, help="At most so many trials, drawn from the grid.")
    ] = None,
    budget_hours: Annotated[
        float | None, typer.Option(min=0, help="Stop after so many hours; run again to go on.")
    ] = None,
    preset: Annotated[
        Literal["paper"] | None, typer.Option(help="Write the levels that the paper found, search nothing.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say how many trials and about how long, and stop there.")
    ] = False,
    precision: Precision = None,
    overrides: Set = None,
    json: Json = False,
) -> None:
    """Search per task on that task alone; writes one plan file and a table of trials."""
    from vltool.pipeline import forget_stage
    from vltool.stages.learning import search_layers

    def search_some(run: Any, console: Any) -> dict[str, Any]:
        if not dry_run:
            forget_stage(run, "search-layers")  # the plan changes for these tasks alone
        return search_layers(run, console, tasks=tasks, dry_run=dry_run)

    given = {
        "strategy": strategy,
        "engine": engine,
        "jobs": jobs,
        "ray_address": "''" if engine == "local" and ray_address is None else ray_address,  # not the file's either
        "budget.trials": budget_trials,
        "budget.hours": budget_hours,
        "preset": preset,
    }
    found = run_stage(
        config,
        [
            *(overrides or []),
            *(f"search.{key}={value}" for key, value in given.items() if value is not None),
            *([f"training.precision={precision}"] if precision else []),
        ],
        search_some if tasks or dry_run else "search-layers",
        json=json,
        show=_lines,
        keep=not dry_run,
    )
    if found.get("failed"):
        raise typer.Exit(3)


def _lines(found: dict[str, Any]) -> list[str]:
    if not found["outputs"]:
        return ["nothing was run (--dry-run)"]
    lines = [f"{name}: level {level}" + _told(found["chosen"].get(name, {})) for name, level in found["levels"].items()]
    return [*lines, f"plan: {found['outputs'][0]}"]


def _told(chosen: dict[str, Any]) -> str:
    """The score of a choice, by how much it won, and what that is worth."""
    if "metric" not in chosen:
        return " (published)" if "preset" in chosen else ""
    told = f", {chosen['metric']} {chosen['score']:.2f}"
    if chosen.get("margin") is not None:
        told += f", {chosen['margin']:.2f} over {chosen['runner_up_cell']}"
    if chosen.get("exceeds_spread") is not None:
        more = "more than" if chosen["exceeds_spread"] else "within"
        told += f", {more} the spread of {len(chosen['seeds'])} seeds ({chosen['spread']:.2f})"
    return told
