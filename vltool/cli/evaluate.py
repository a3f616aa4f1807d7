"""vltool eval: scores of a checkpoint on data that it never saw."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vltool.cli.console import Console, print_json, print_table
from vltool.cli.options import Bootstrap, Json, Precision, Seed, TaskNames

if TYPE_CHECKING:
    from vltool.training.scoring import ScoredTask


def command(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="A folder that train-joint left.")],
    tasks: TaskNames = None,
    split: Annotated[Literal["val", "test"], typer.Option(help="Which split is scored.")] = "test",
    bootstrap: Bootstrap = 0,
    seed: Seed = 0,
    allow_contaminated: Annotated[
        bool, typer.Option("--allow-contaminated", help="Score pictures that trained the checkpoint, and say so.")
    ] = False,
    precision: Precision = None,
    jobs: Annotated[
        int | None,
        typer.Option(min=0, help="Processes that score pairs (evaluation.jobs); 0: one a GPU where there are several."),
    ] = None,
    json: Json = False,
) -> None:
    """Score a checkpoint; refuses a split whose pictures trained it. Leaves eval-SPLIT.json beside the checkpoint
    (of a checkpoint that is not the last one, eval-NAME-SPLIT.json).

    The predictions lie beside it, in a folder of that name. Questions whose answers are secret are predicted, for
    EvalAI. Scoring all pairs of pictures and captions goes on where it was broken off. Processes that torchrun started
    share the scoring.
    """
    from vltool.config import from_dict
    from vltool.engines.processes import join
    from vltool.errors import ConfigError
    from vltool.evaluation.prediction_files import write_predictions
    from vltool.pipeline import write_json
    from vltool.processor import keep_freed_memory
    from vltool.training import checkpoint as checkpoints
    from vltool.training.inputs import load_inputs
    from vltool.training.scoring import (
        bootstrap_of,
        contamination_of,
        evaluation_record,
        forget_parts,
        score_checkpoint,
    )

    keep_freed_memory()
    saved = checkpoints.load(checkpoint)
    config = from_dict(saved.run["config"], where=str(checkpoint))
    if jobs is not None:
        config = replace(config, evaluation=replace(config.evaluation, jobs=jobs))
    if precision:
        config = replace(config, training=replace(config.training, precision=precision))
    name = "eval" if checkpoint.name == "checkpoint" else f"eval-{checkpoint.name}"
    folder = checkpoint.parent / f"{name}-{split}"
    with join(config.training.device) as together, Console(quiet=not together.is_first) as console:
        if jobs and together.size > 1:
            raise ConfigError(f"--jobs is for one process, and {together.size} share the scoring. Leave it out")
        inputs = load_inputs(config)
        scored = score_checkpoint(
            inputs,
            checkpoint,
            tasks=tasks,
            split=split,
            allow_contaminated=allow_contaminated,
            parts=folder,
            progress=lambda done, total: console.progress("scoring", done, total),
            processes=together,
        )
    if not together.is_first:
        return
    files = {name: write_predictions(item.evaluation, folder, name) for name, item in scored.items()}
    intervals = bootstrap_of(scored, draws=bootstrap, seed=seed)
    record = evaluation_record(checkpoint.parent.name, split, inputs, dict.fromkeys(scored, str(checkpoint)), scored)
    record |= {**intervals, "files": files, "config": saved.run["config"]}
    write_json(checkpoint.parent / f"{name}-{split}.json", record)
    forget_parts(scored)
    found: dict[str, Any] = {name: item.evaluation.scores for name, item in scored.items()}
    if json:
        facts = {"checkpoint": str(checkpoint), "split": split, "protocol": config.splits.protocol}
        ignorance = {name: item.ignorance for name, item in scored.items()}
        rules = {name: item.rules for name, item in scored.items()}
        contamination = {"contamination": contamination_of(scored), "ignorance": ignorance}
        print_json({**found, **facts, **contamination, "rules": rules, "files": files, **intervals})
        return
    for name, item in scored.items():
        title = f"{name} on {split} ({config.splits.protocol} splits{_rules(item.rules)})" + _mark(item.contaminated)
        _print_scores(title, item, intervals.get("intervals", {}).get(name, {}), files[name]["predictions"])


def _print_scores(title: str, item: ScoredTask, intervals: dict[str, list[float]], predictions: str) -> None:
    rows = [
        [metric, f"{value:.2f}", interval_of(intervals, metric), ignorance_of(item.ignorance, metric)]
        for metric, value in item.evaluation.scores.items()
    ]
    if not rows:
        count = len(item.evaluation.predictions)
        print_table(title, [f"{count:,} predictions, whose answers are secret, to be sent to EvalAI"], [[predictions]])
        return
    columns = ["metric", "score" + " (contaminated)" * bool(item.contaminated), "95 % interval", "ignorance"]
    if not intervals:
        columns, rows = [columns[0], columns[1], columns[3]], [[row[0], row[1], row[3]] for row in rows]
    print_table(title, columns, rows)


def _rules(rules: dict[str, Any]) -> str:
    return "".join(f", {name.replace('_', ' ')} {value}" for name, value in rules.items())


def _mark(contaminated: int) -> str:
    return f", CONTAMINATED: {contaminated:,} of its pictures trained this checkpoint" if contaminated else ""


def interval_of(intervals: dict[str, list[float]], metric: str) -> str:
    """The interval of a metric as a table shows it."""
    return "{:.2f} to {:.2f}".format(*intervals[metric]) if metric in intervals else ""


def ignorance_of(ignorance: dict[str, float], metric: str) -> str:
    """What ignorance gets on a metric, under whichever name it has: chance, or the question alone."""
    for name in (metric, f"question_only.{metric}"):
        if name in ignorance:
            return f"{ignorance[name]:.2f}"
    return ""
