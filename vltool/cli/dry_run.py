"""What `vltool run --dry-run` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vltool.cli.console import print_lines, print_table

if TYPE_CHECKING:
    from vltool.dry_run.check import DryRun


def print_dry_run(found: DryRun) -> None:
    """What is there, what the run takes, and at the end everything that is wrong."""
    from vltool.training.timing import readable

    for fact in found.findings.facts:
        print_lines(f"ok    {fact.stage}: {fact.file}: {fact.found}")
    rows = [
        [
            estimate.stage,
            "?" if estimate.seconds is None else readable(estimate.seconds),
            "?" if estimate.disk_bytes is None else f"{estimate.disk_bytes / 1e9:.2f} GB",
            "?" if estimate.memory_bytes is None else f"{estimate.memory_bytes / 1e9:.2f} GB",
            estimate.reckoned,
        ]
        for estimate in found.estimates
    ]
    print_table("an estimate, of steps measured on this machine", ["stage", "time", "disk", "memory", "reckoned"], rows)
    print_lines(*(f"      {line}" for line in found.assumptions))
    print_lines(f"      {found.free_bytes / 1e9:.1f} GB of disk are free")
    for problem in found.findings.problems:
        print_lines(f"WRONG {problem.stage}: {problem.file}: {problem.wrong}", f"      {problem.todo}")
    count = len(found.findings.problems)
    print_lines("ready: nothing is missing or wrong" if found.is_ready else f"not ready: {count} to put right")
