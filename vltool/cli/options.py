"""Options that many commands share, each in one place."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else there.")]
Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="The run's YAML file.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B=C", help="Override a value of the configuration; may be repeated."),
]
TaskNames = Annotated[list[str] | None, typer.Option("--task", metavar="TASK", help="Only this task; may be repeated.")]
Precision = Annotated[
    Literal["auto", "float32", "bfloat16", "float16"] | None,
    typer.Option(help="Number format of the network's products (training.precision); float16 on a GPU only."),
]
Bootstrap = Annotated[
    int, typer.Option(min=0, help="Resamples of the test set for 95 % intervals, 1000 for instance; 0: no intervals.")
]
Seed = Annotated[int, typer.Option(min=0, help="Of the resamples: the same seed gives the same intervals.")]
RayAddress = Annotated[
    str, typer.Option(metavar="HOST:PORT", help="A running Ray cluster; without it one is started here.")
]
