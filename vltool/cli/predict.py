"""vltool predict: answers, rankings and regions for one's own pictures and words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vltool.cli.commands import file_of
from vltool.cli.console import Console, print_json, print_lines
from vltool.cli.options import Json

if TYPE_CHECKING:
    from vltool.report.attention import Panel


def command(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="A folder that train-joint left.")],
    image: Annotated[Path | None, typer.Option(help="One picture.")] = None,
    pictures: Annotated[Path | None, typer.Option(metavar="DIR", help="A folder of pictures, to be ranked.")] = None,
    question: Annotated[str, typer.Option(help="Answer it about the picture.")] = "",
    captions: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A caption a line, to be ranked for each picture.")
    ] = None,
    text: Annotated[
        str, typer.Option(help="With --image: find the phrases in [brackets]. With --pictures: the caption to rank by.")
    ] = "",
    parser: Annotated[str, typer.Option(metavar="MODEL", help="A spaCy model that finds phrases by itself.")] = "",
    top: Annotated[int, typer.Option(min=1, help="How many answers, captions or pictures are shown.")] = 5,
    figure: Annotated[
        Path | None,
        typer.Option(metavar="FILE", parser=file_of("--figure"), help="Draw what was looked at: .png, .jpg, .pdf."),
    ] = None,
    config_file: Annotated[Path | None, typer.Option(help="The detector's YAML, where the run's has moved.")] = None,
    weights: Annotated[Path | None, typer.Option(help="The detector's checkpoint.")] = None,
    json: Json = False,
) -> None:
    """Ask a checkpoint about one's own pictures: --question, --captions, or --text with [phrases]."""
    from vltool.predict.requests import Request, check_request, respond, unknown_words

    request = Request(image, pictures, question, captions, text, parser, top, figure)
    check_request(request)
    with Console() as console:
        console.say(f"loading {checkpoint}")
        from vltool.predict.predictor import load

        model = load(checkpoint, config_file=config_file, weights=weights)
        if unknown := unknown_words(model, request):
            console.say(f"words that no training text has, read as one unknown word: {', '.join(unknown)}")
        panels: list[Panel] = []
        found = respond(model, request, panels if figure else None, progress=console.progress)
        if figure:
            from vltool.predict.figure import save_figure

            save_figure(figure, panels, model)
            found["figure"] = str(figure)
    if json:
        print_json(found)
    else:
        print_lines(*told(found))
    if failures := found.get("failures"):
        for failure in failures:
            typer.echo(f"vltool: left out: {failure['error']}", err=True)
        typer.echo(f"vltool: pictures left out of the ranking: {len(failures)}", err=True)
        raise typer.Exit(3)


def told(found: dict[str, Any]) -> list[str]:
    """The findings in lines."""
    lines = [f"{100 * item['probability']:5.1f} %  {item['answer']}" for item in found.get("answers", [])]
    for item in found.get("phrases", []):
        box = " ".join(f"{value:.0f}" for value in item["box"])
        lines.append(f"{100 * item['probability']:5.1f} %  {item['phrase']}: {box}")
    for side, word in (("captions_of_picture", "picture"), ("pictures_of_caption", "caption")):
        for group in found.get(side, []):
            lines.append(group[word])
            lines += [f"  {100 * item['score']:5.1f} %  {item['name']}" for item in group["ranked"]]
    return lines + ([f"figure: {found['figure']}"] if "figure" in found else [])
