"""vltool score …: the official metrics for a predictions file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vltool.cli.commands import App, file_of
from vltool.cli.console import print_json, print_table
from vltool.cli.options import Bootstrap, Json, Seed

if TYPE_CHECKING:
    from vltool.evaluation.score_files import FileScores

app = App(help="Score a predictions file by the official rules; needs no model.", no_args_is_help=True)
Flat = dict[str, list[float]]


@app.command("vqa")
def vqa_command(
    questions: Annotated[Path, typer.Option(help="The official questions file.")],
    annotations: Annotated[Path, typer.Option(help="The official annotations file.")],
    results: Annotated[Path, typer.Option(help='JSON list of "question_id" and "answer", every question once.')],
    per_question: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", parser=file_of("--per-question"), help="Write the accuracy of every question here."
        ),
    ] = None,
    bootstrap: Bootstrap = 0,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """VQA accuracy: overall, per question type, per answer type."""
    from vltool.evaluation import score_files
    from vltool.json_files import write_json

    found = score_files.score_vqa(questions=questions, annotations=annotations, results=results)
    if per_question is not None:
        write_json(per_question, score_files.per_question(found.items))
    flat = _intervals(found, bootstrap, seed)
    if json:
        return _print_json(found, flat, bootstrap, seed)
    rows = [["overall", _shown(found.scores["overall"]), _interval(flat, "overall")]]
    for group in ("per_answer_type", "per_question_type"):
        for name, value in sorted(found.scores[group].items()):
            rows.append([name, _shown(value), _interval(flat, f"{group}.{name}")])
    _print_table("VQA accuracy", ["questions", "accuracy"], rows, flat)


@app.command("retrieval")
def retrieval_command(
    scores: Annotated[Path, typer.Option(help=".npy of scores: rows images, columns captions.")],
    captions_per_image: Annotated[
        int | None, typer.Option(min=1, help="Captions stand image by image, so many each (default: 5).")
    ] = None,
    gold: Annotated[Path | None, typer.Option(help='JSON: "caption_image", the row of each caption.')] = None,
    folds: Annotated[int, typer.Option(min=1, help="COCO 1K: 5 folds of the 5K test.")] = 1,
    ties: Annotated[
        Literal["against", "scan"],
        typer.Option(help="Equal scores count against us, or as in SCAN's evaluation.py: its order, five captions."),
    ] = "against",
    bootstrap: Bootstrap = 0,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Recall@1, 5, 10, median and mean rank, both ways; a tie counts against us."""
    from vltool.evaluation.score_files import score_retrieval

    found = score_retrieval(scores, captions_per_image=captions_per_image, gold=gold, folds=folds, ties=ties)
    flat = _intervals(found, bootstrap, seed)
    if json:
        return _print_json(found, flat, bootstrap, seed)
    ways = ("image_to_text", "text_to_image")
    rows = [
        [f"{way} {name}", _shown(value), _interval(flat, f"{way}.{name}")]
        for way in ways
        for name, value in found.scores[way].items()
    ]
    rows.append(["rsum", _shown(found.scores["rsum"]), _interval(flat, "rsum")])
    counted = {"against": "ties against us", "scan": "ties and captions as in SCAN's script"}[ties]
    folded = f", mean of {folds} folds" if folds > 1 else ""
    _print_table(f"retrieval ({counted}{folded})", ["metric", "score"], rows, flat)


@app.command("grounding")
def grounding_command(
    predictions: Annotated[Path, typer.Option(help='JSON list of "image_id", "sentence", "phrase", "boxes".')],
    entities: Annotated[Path, typer.Option(help="Folder with Annotations and Sentences.")],
    ids: Annotated[
        Path | None,
        typer.Option(help="The pictures that were asked about, a list (default: those answered)."),
    ] = None,
    protocol: Annotated[Literal["any", "merged"], typer.Option(help="Which boxes count.")] = "any",
    unrelated: Annotated[
        Path | None, typer.Option(help="Entities' UNRELATED_CAPTIONS: captions that are not asked.")
    ] = None,
    bootstrap: Bootstrap = 0,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Recall@1, 5, 10 of phrases, their upper bound, and each phrase type."""
    from vltool.evaluation.score_files import score_grounding

    found = score_grounding(predictions, entities=entities, ids=ids, protocol=protocol, unrelated=unrelated)
    flat = _intervals(found, bootstrap, seed)
    if json:
        return _print_json(found, flat, bootstrap, seed)
    names = ("recall@1", "recall@5", "recall@10", "upper_bound", "phrases")
    kinds = {"all": ("recall@1", found.scores)}
    kinds |= {kind: (f"recall@1/{kind}", row) for kind, row in found.scores["per_type"].items()}
    rows = []
    for kind, (name, row) in kinds.items():
        first = _shown(row["recall@1"]) + (f" ({_interval(flat, name)})" if flat else "")
        rows.append([kind, first, *(_shown(row[other]) for other in names[1:])])
    title = (
        f"grounding, {protocol} boxes, IoU ≥ 0.5, regions of the predictions, {found.scores['images']:,} pictures, "
        f"{found.scores['unanswered']:,} phrases unanswered" + ", recall@1 with 95 % interval" * bool(flat)
    )
    print_table(title, ["type", *names], rows)


@app.command("gqa")
def gqa_command(
    predictions: Annotated[Path, typer.Option(help='JSON list of "questionId" and "prediction".')],
    questions: Annotated[Path, typer.Option(help="The official questions, a file or the folder of its parts.")],
    choices: Annotated[Path | None, typer.Option(help="The official choices: validity and plausibility too.")] = None,
    bootstrap: Bootstrap = 0,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """GQA's accuracy, consistency, validity, plausibility, distribution (lower is better), and accuracy by type."""
    from vltool.evaluation.score_twelve import score_gqa

    _show("GQA", score_gqa(predictions, questions=questions, choices=choices), bootstrap, seed, json)


@app.command("nlvr2")
def nlvr2_command(
    predictions: Annotated[Path, typer.Option(help="CSV of identifier,prediction (True or False).")],
    statements: Annotated[Path, typer.Option(help="The official JSON lines: dev.json, test1.json, test2.json.")],
    bootstrap: Bootstrap = 0,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """NLVR2's accuracy and consistency."""
    from vltool.evaluation.score_twelve import score_nlvr2

    _show("NLVR2", score_nlvr2(predictions, statements=statements), bootstrap, seed, json)


@app.command("referring")
def referring_command(
    predictions: Annotated[Path, typer.Option(help='JSON list of "id" (reference-sentence) and "box", x1 y1 x2 y2.')],
    refs: Annotated[Path, typer.Option(help="The official refs(unc).p, refs(umd).p or refs(google).p.")],
    instances: Annotated[Path, typer.Option(help="The instances.json beside it.")],
    split: Annotated[str, typer.Option(help="val, testA, testB, test, or a sum of them.")],
    store: Annotated[
        Path | None, typer.Option(help="Feature store of the regions that were chosen from: their upper bound too.")
    ] = None,
    bootstrap: Bootstrap = 0,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """RefCOCO, RefCOCO+, RefCOCOg: share of boxes with IoU > 0.5, and what the candidates allow at best."""
    from vltool.evaluation.score_twelve import score_referring

    found = score_referring(predictions, refs=refs, instances=instances, split=split, store=store)
    _show(f"referring expressions, {split}, IoU > 0.5", found, bootstrap, seed, json)


@app.command("visual7w")
def visual7w_command(
    predictions: Annotated[
        Path, typer.Option(help='JSON list of "qa_id" and "candidates", the first of which counts.')
    ],
    dataset: Annotated[Path, typer.Option(help="The official dataset_v7w_pointing.json.")],
    split: Annotated[Literal["train", "val", "test"], typer.Option(help="Which split was predicted.")] = "test",
    bootstrap: Bootstrap = 0,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Visual7W pointing: share of questions whose box is the right one."""
    from vltool.evaluation.score_twelve import score_visual7w

    _show(f"Visual7W, {split}", score_visual7w(predictions, dataset=dataset, split=split), bootstrap, seed, json)


@app.command("guesswhat")
def guesswhat_command(
    predictions: Annotated[Path, typer.Option(help='JSON list of "dialogue_id" and "object_id".')],
    games: Annotated[Path, typer.Option(help="The official JSON lines: guesswhat.test.jsonl.gz.")],
    only: Annotated[
        Literal["all", "success"], typer.Option(help="All games with a question, or those that the players won.")
    ] = "all",
    bootstrap: Bootstrap = 0,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """GuessWhat?!'s guesser: share of games whose object is the right one."""
    from vltool.evaluation.score_twelve import score_guesswhat

    _show("GuessWhat?!", score_guesswhat(predictions, games=games, only=only), bootstrap, seed, json)


@app.command("snli-ve")
def snli_ve_command(
    predictions: Annotated[Path, typer.Option(help='JSON list of "pairID" and "prediction".')],
    pairs: Annotated[Path, typer.Option(help="The official JSON lines: snli_ve_test.jsonl.")],
    bootstrap: Bootstrap = 0,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """SNLI-VE: share of hypotheses whose label is the right one, also of each label."""
    from vltool.evaluation.score_twelve import score_snli_ve

    _show("SNLI-VE", score_snli_ve(predictions, pairs=pairs), bootstrap, seed, json)


@app.command("visual-genome-qa")
def visual_genome_qa_command(
    predictions: Annotated[Path, typer.Option(help='JSON list of "question_id" and "answer".')],
    questions: Annotated[Path, typer.Option(help="The official question_answers.json.")],
    images: Annotated[Path | None, typer.Option(help="image_data.json, which names pictures that are COCO's.")] = None,
    ids: Annotated[Path | None, typer.Option(help="The pictures that were asked about, a list.")] = None,
    bootstrap: Bootstrap = 0,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Visual Genome's questions: share of answers that are the given one after VQA's normalisation."""
    from vltool.evaluation.score_twelve import score_visual_genome_qa

    found = score_visual_genome_qa(predictions, questions=questions, images=images, ids=ids)
    _show("Visual Genome QA", found, bootstrap, seed, json)


def _show(title: str, found: FileScores, bootstrap: int, seed: int, json: bool) -> None:
    """Flat scores, as a table or as JSON."""
    flat = _intervals(found, bootstrap, seed)
    if json:
        return _print_json(found, flat, bootstrap, seed)
    rows = [[name, _shown(value), _interval(flat, name)] for name, value in found.scores.items()]
    _print_table(title, ["metric", "score"], rows, flat)


def _intervals(found: FileScores, draws: int, seed: int) -> Flat:
    from vltool.metrics.bootstrap import bounds, intervals

    return bounds(intervals(found.items, draws=draws, seed=seed)) if draws else {}


def _print_json(found: FileScores, flat: Flat, draws: int, seed: int) -> None:
    from vltool.metrics.bootstrap import LEVEL
    from vltool.metrics.recall import nested

    facts: dict[str, Any] = {}
    if flat:
        facts["intervals"] = nested(flat)
        facts["bootstrap"] = {"draws": draws, "seed": seed, "level": LEVEL, "unit": found.items.unit}
    print_json({**found.scores, **facts})


def _print_table(title: str, columns: list[str], rows: list[list[str]], flat: Flat) -> None:
    if not flat:
        rows = [row[:-1] for row in rows]
    print_table(title, [*columns, *(["95 % interval"] if flat else [])], rows)


def _interval(flat: Flat, name: str) -> str:
    return "{:.2f} to {:.2f}".format(*flat[name]) if name in flat else ""


def _shown(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)
