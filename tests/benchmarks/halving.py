"""Successive halving against the full grid on the generated world: what each chooses, and after how many updates.

    python tests/benchmarks/halving.py OUT [--set a.b=c]… [--seeds 3] [--jobs 2] [--prepared]

Searches by halving first. The full grid then goes on from what halving has trained, so both cost as much as the grid
alone; halving's own updates and processor seconds are counted before. A choice is within the spread if the full grid's
mean scores of the two choices differ by no more than the standard deviation over seeds (of both, root of their mean
square). --prepared: the world, its features and words lie in OUT already.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import time
from pathlib import Path
from typing import Any

import pandas as pd

from vltool.cli.console import Console
from vltool.config import load
from vltool.pipeline import run_pipeline
from vltool.stages.learning import search_layers

WORLD = Path(__file__).parents[2] / "vltool" / "world" / "demo.yaml"
SMALLER = [
    "search.grid={level: [1, 2, 3, 4], batch_size: [32]}",
    "search.tasks.caption_retrieval={num_updates: [225], step_size: [180]}",
    "search.tasks.vqa={num_updates: [675], step_size: [500]}",
    "search.tasks.grounding={num_updates: [135], step_size: [100]}",
    "encoder.options={width: 64, num_levels: 4, lstm_width: 48, dropout: 0.05, normalize_regions: false, "
    "standardize_regions: true}",
    "training.cycle_updates=5",
    "training.evaluate_every=0",
    "training.checkpoint_every=15",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--prepared", action="store_true")
    given = parser.parse_args()
    overrides = [f"out={given.out}", *SMALLER, f"search.seeds={list(range(given.seeds))}", f"search.jobs={given.jobs}"]
    found = {}
    with Console() as console:
        for strategy in ("halving", "grid"):
            config = load(WORLD, [*overrides, f"search.strategy={strategy}", *given.overrides])
            if not given.prepared:
                run_pipeline(config, console, stages=["world", "extract-features", "embed-text"])
            started, before = time.perf_counter(), _processor_seconds()
            counts = search_layers(config, console)
            cost = {"seconds": time.perf_counter() - started, "processor_seconds": _processor_seconds() - before}
            found[strategy] = {**counts, **cost}
            shutil.copy(given.out / "search" / "trials.csv", given.out / f"{strategy}-trials.csv")
    _print(found, given.out)


def _processor_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in used)


def _print(found: dict[str, Any], out: Path) -> None:
    trials = pd.read_csv(out / "grid-trials.csv")
    rows = []
    for task in found["grid"]["levels"]:
        own = trials[trials["task"] == task].groupby("level")["score"].agg(["mean", "std"])
        by_grid, by_halving = (found[strategy]["levels"][task] for strategy in ("grid", "halving"))
        behind = own["mean"][by_grid] - own["mean"][by_halving]
        spread = ((own["std"][by_grid] ** 2 + own["std"][by_halving] ** 2) / 2) ** 0.5
        rows.append(
            {
                "task": task,
                **{f"level {level}": f"{row['mean']:.2f} ± {row['std']:.2f}" for level, row in own.iterrows()},
                "grid": by_grid,
                "halving": by_halving,
                "behind": round(behind, 2),
                "spread": round(spread, 2),
                "same or within": bool(behind <= spread or by_grid == by_halving),
            }
        )
    print(pd.DataFrame(rows).to_string(index=False))
    updates = {strategy: found[strategy]["trained_updates"] for strategy in found}
    print(f"updates: halving {updates['halving']:,}, grid {updates['grid']:,}")
    print(f"halving made {100 * updates['halving'] / updates['grid']:.1f} % of the grid's updates")
    print(
        json.dumps(
            {
                name: {k: round(own[k], 1) for k in own if "seconds" in k and k != "seconds_per_update"}
                for name, own in found.items()
            }
        )
    )


if __name__ == "__main__":
    main()
