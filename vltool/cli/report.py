"""vltool report: one page about a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vltool.cli.console import Console, print_json, print_lines
from vltool.cli.options import Json
from vltool.errors import ConfigError


def command(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN…", help="Folders of runs (their `out`).")],
    out: Annotated[Path | None, typer.Option(help="The page (default: report.html in the first run's folder).")] = None,
    json: Json = False,
) -> None:
    """Tables, curves and attention figures of one or more runs as one self-contained HTML page."""
    from vltool.config import from_dict
    from vltool.json_files import read_json
    from vltool.report.page import write_report

    configs = []
    with Console() as console:
        for run in runs:
            path = run / "config.json"
            if not path.exists():
                raise ConfigError(f"{run}: no run there (config.json is missing). Name the `out` folder of a run")
            raw = read_json(path)
            if not isinstance(raw, dict):
                raise ConfigError(f"{path}: not the configuration of a run. Run the stage that made it again")
            raw.pop("provenance", None)
            configs.append(from_dict(raw, where=str(path)))
        page = str(write_report(configs, out, say=console.say))
    if json:
        print_json({"report": page})
    else:
        print_lines(page)
