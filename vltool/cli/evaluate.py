"""vltool eval: scores of a checkpoint on data that it never saw."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from vltool.cli.console import Console, print_json, print_table
from vltool.cli.options import Json, Precision, TaskNames


def command(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="A folder that train-joint left.")],
    tasks: TaskNames = None,
    split: Annotated[Literal["val", "test"], typer.Option(help="Which split is scored.")] = "test",
    allow_contaminated: Annotated[
        bool, typer.Option("--allow-contaminated", help="Score pictures that trained the checkpoint, and say so.")
    ] = False,
    precision: Precision = None,
    json: Json = False,
) -> None:
    """Score a checkpoint; refuses a split whose pictures trained it. Leaves eval-SPLIT.json beside the checkpoint
    (of a checkpoint that is not the last one, eval-NAME-SPLIT.json).
    """
    from vltool.config import from_dict
    from vltool.pipeline import write_json
    from vltool.training import checkpoint as checkpoints
    from vltool.training.inputs import load_inputs
    from vltool.training.scoring import contamination_of, evaluation_record, score_checkpoint

    saved = checkpoints.load(checkpoint)
    config = from_dict(saved.run["config"], where=str(checkpoint))
    if precision:
        config = replace(config, training=replace(config.training, precision=precision))
    with Console() as console:
        inputs = load_inputs(config)
        scored = score_checkpoint(
            inputs,
            checkpoint,
            tasks=tasks,
            split=split,
            allow_contaminated=allow_contaminated,
            progress=lambda done, total: console.progress("scoring", done, total),
        )
    contamination = contamination_of(scored)
    record = evaluation_record(checkpoint.parent.name, split, inputs, dict.fromkeys(scored, str(checkpoint)), scored)
    name = "eval" if checkpoint.name == "checkpoint" else f"eval-{checkpoint.name}"
    write_json(checkpoint.parent / f"{name}-{split}.json", {**record, "config": saved.run["config"]})
    found: dict[str, Any] = {name: item.evaluation.scores for name, item in scored.items()}
    if json:
        facts = {"checkpoint": str(checkpoint), "split": split, "protocol": config.splits.protocol}
        ignorance = {name: item.ignorance for name, item in scored.items()}
        print_json({**found, **facts, "contamination": contamination, "ignorance": ignorance})
        return
    for name, item in scored.items():
        rows = [[metric, f"{value:.2f}", ignorance_of(item.ignorance, metric)] for metric, value in found[name].items()]
        print_table(
            f"{name} on {split} ({config.splits.protocol} splits)" + _mark(item.contaminated),
            ["metric", "score" + " (contaminated)" * bool(item.contaminated), "ignorance"],
            rows,
        )


def _mark(contaminated: int) -> str:
    return f", CONTAMINATED: {contaminated:,} of its pictures trained this checkpoint" if contaminated else ""


def ignorance_of(ignorance: dict[str, float], metric: str) -> str:
    """What ignorance gets on a metric, under whichever name it has: chance, or the question alone."""
    for name in (metric, f"question_only.{metric}"):
        if name in ignorance:
            return f"{ignorance[name]:.2f}"
    return ""
