"""vltool search-layers: which encoder layer, batch size, number of updates and step size for each task."""

from __future__ import annotations

from typing import Any

from vltool.cli.options import Config, Json, Precision, Set, TaskNames
from vltool.cli.stage_command import run_stage


def command(
    config: Config, tasks: TaskNames = None, precision: Precision = None, overrides: Set = None, json: Json = False
) -> None:
    """Grid search per task on that task alone; writes one plan file and a table of trials."""
    from vltool.pipeline import forget_stage
    from vltool.stages import search_layers

    def search_some(run: Any, console: Any) -> dict[str, Any]:
        forget_stage(run, "search-layers")  # the plan changes for these tasks alone
        return search_layers(run, console, tasks=tasks)

    run_stage(
        config,
        [*(overrides or []), *([f"training.precision={precision}"] if precision else [])],
        search_some if tasks else "search-layers",
        json=json,
        show=lambda found: (
            [
                f"{name}: level {level}, {found['chosen'][name]['metric']} {found['chosen'][name]['score']:.2f}"
                for name, level in found["levels"].items()
            ]
            + [f"plan: {found['outputs'][0]}"]
        ),
    )
