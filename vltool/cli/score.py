"""vltool score …: the official metrics for a predictions file."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from vltool.cli.console import print_json, print_table
from vltool.cli.options import Json

app = typer.Typer(help="Score a predictions file by the official rules; needs no model.", no_args_is_help=True)


@app.command("vqa")
def vqa_command(
    questions: Annotated[Path, typer.Option(help="The official questions file.")],
    annotations: Annotated[Path, typer.Option(help="The official annotations file.")],
    results: Annotated[Path, typer.Option(help='JSON list of "question_id" and "answer", every question once.')],
    per_question: Annotated[Path | None, typer.Option(help="Write the accuracy of every question here.")] = None,
    json: Json = False,
) -> None:
    """VQA accuracy: overall, per question type, per answer type."""
    from vltool.evaluation.score_files import score_vqa

    accuracy, ids = score_vqa(questions=questions, annotations=annotations, results=results)
    if per_question is not None:
        each = {str(number): value for number, value in zip(ids, accuracy.per_question, strict=True)}
        per_question.write_text(json_module.dumps(each), encoding="utf-8")
    if json:
        print_json(
            {
                "overall": accuracy.overall,
                "per_question_type": accuracy.per_question_type,
                "per_answer_type": accuracy.per_answer_type,
            }
        )
        return
    rows = [["overall", f"{accuracy.overall:.2f}"]]
    rows += [[name, f"{value:.2f}"] for name, value in sorted(accuracy.per_answer_type.items())]
    rows += [[name, f"{value:.2f}"] for name, value in sorted(accuracy.per_question_type.items())]
    print_table("VQA accuracy", ["questions", "accuracy"], rows)


@app.command("retrieval")
def retrieval_command(
    scores: Annotated[Path, typer.Option(help=".npy of scores: rows images, columns captions.")],
    captions_per_image: Annotated[int | None, typer.Option(min=1, help="Captions stand image by image.")] = None,
    gold: Annotated[Path | None, typer.Option(help='JSON: "caption_image", the row of each caption.')] = None,
    folds: Annotated[int, typer.Option(min=1, help="COCO 1K: 5 folds of the 5K test.")] = 1,
    json: Json = False,
) -> None:
    """Recall@1, 5, 10, median and mean rank, both ways; a tie counts against us."""
    from vltool.evaluation.score_files import score_retrieval

    found = score_retrieval(scores, captions_per_image=captions_per_image, gold=gold, folds=folds)
    if json:
        print_json(found)
        return
    ways = ("image_to_text", "text_to_image")
    rows = [[name, *(f"{found[way][name]:.2f}" for way in ways)] for name in found[ways[0]]]
    print_table(f"retrieval, rsum {found['rsum']:.2f}", ["metric", *ways], rows)


@app.command("grounding")
def grounding_command(
    predictions: Annotated[Path, typer.Option(help='JSON list of "image_id", "sentence", "phrase", "boxes".')],
    entities: Annotated[Path, typer.Option(help="Folder with Annotations and Sentences.")],
    protocol: Annotated[Literal["any", "merged"], typer.Option(help="Which boxes count.")] = "any",
    json: Json = False,
) -> None:
    """Recall@1, 5, 10 of phrases, their upper bound, and each phrase type."""
    from vltool.evaluation.score_files import score_grounding

    found = score_grounding(predictions, entities=entities, protocol=protocol)
    if json:
        print_json(found)
        return
    names = ("recall@1", "recall@5", "recall@10", "upper_bound", "phrases")
    rows = [["all", *map(_shown, (found[name] for name in names))]]
    rows += [[kind, *map(_shown, (row[name] for name in names))] for kind, row in found["per_type"].items()]
    print_table(f"grounding, {protocol} boxes", ["phrases of type", *names], rows)


def _shown(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)
