"""vltool report: one page about a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vltool.cli.commands import file_of
from vltool.cli.console import Console, print_json, print_lines, print_table
from vltool.cli.options import Bootstrap, Json, Seed
from vltool.errors import ConfigError

if TYPE_CHECKING:
    from vltool.report.differences import Differences


def command(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN…", help="Folders of runs (their `out`).")],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", parser=file_of("--out"), help="The page (default: report.html in the first run's folder)."
        ),
    ] = None,
    bootstrap: Bootstrap = 1000,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Tables, curves and attention figures of one or more runs as one self-contained HTML page.

    Test scores have bootstrap intervals; of several runs, the differences from the first one have paired ones.
    """
    from vltool.config import from_dict, moved_to
    from vltool.json_files import read_json
    from vltool.report.differences import differences_from_first
    from vltool.report.page import write_report
    from vltool.report.run_files import read_run
    from vltool.report.run_records import AGAIN

    configs = []
    with Console() as console:
        for run in runs:
            path = run / "config.json"
            if not path.exists():
                raise ConfigError(f"{run}: no run there (config.json is missing). Name the `out` folder of a run")
            raw = read_json(path, next_step=AGAIN)
            if not isinstance(raw, dict):
                raise ConfigError(f"{path}: not the configuration of a run. {AGAIN}")
            raw.pop("provenance", None)
            configs.append(from_dict(moved_to(run, raw), where=str(path)))
        several = len(configs) > 1 and bootstrap > 0
        files = [read_run(config) for config in configs] if several else []
        found = differences_from_first(files, draws=bootstrap, seed=seed, say=console.say) if several else []
        page = str(write_report(configs, out, differences=found, draws=bootstrap, seed=seed, say=console.say))
    if json:
        print_json({"report": page, **({"differences": [each.to_json() for each in found]} if several else {})})
        return
    for each in found:
        _print_differences(each)
    print_lines(page)


def _print_differences(found: Differences) -> None:
    rows = [
        [f"{task} {metric}", f"{value.value:+.2f}", f"{value.low:+.2f} to {value.high:+.2f}"]
        for task, metrics in found.intervals.items()
        for metric, value in metrics.items()
    ]
    if rows:
        print_table(f"{found.name} less {found.first}, test", ["score", "difference", "95 % interval"], rows)
    print_lines(*(f"{task}: no interval, {reason}" for task, reason in found.without.items()))
