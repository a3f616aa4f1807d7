"""What one call of `vltool predict` asks for, checked before anything is loaded, and its findings as JSON values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vltool.errors import ConfigError, DataError

if TYPE_CHECKING:
    from vltool.predict.predictor import Predictor
    from vltool.report.attention import Panel

FIGURES = (".png", ".jpg", ".jpeg", ".pdf", ".svg")
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Request:
    """Pictures and words: one image, or a folder; a question, a file of captions, or a text (with phrases)."""

    image: Path | None = None
    pictures: Path | None = None
    question: str = ""
    captions: Path | None = None
    text: str = ""
    parser: str = ""
    top: int = 5
    figure: Path | None = None


def check_request(request: Request) -> None:
    """Raises ConfigError for a request that makes no sense, DataError for files that are not there."""
    if request.image is None and request.pictures is None:
        raise ConfigError("predict needs a picture: give --image FILE, or --pictures DIR to rank several")
    if request.image is not None and request.pictures is not None:
        raise ConfigError("--image asks about one picture, --pictures ranks several: give one of the two")
    if not (request.question or request.captions or request.text):
        raise ConfigError(
            "predict needs words: --question 'what is there?', --captions FILE, or --text 'is [anyone] on [the bike]'"
        )
    if request.question and request.image is None:
        raise ConfigError("--question is about one picture: give --image FILE")
    if request.captions is not None and request.text and request.image is None:
        raise ConfigError("--pictures is ranked by --captions or by --text: give one of the two")
    for name, path in (("--image", request.image), ("--captions", request.captions), ("--pictures", request.pictures)):
        if path is not None and not path.exists():
            raise DataError(f"{name} {path}: no such file or folder")
    if request.captions is not None:
        read_captions(request.captions)
    if request.figure is not None and request.figure.suffix.lower() not in FIGURES:
        raise ConfigError(f"--figure {request.figure}: choose a file that ends in {', '.join(FIGURES)}")


def read_captions(path: Path) -> list[str]:
    """The lines of a file that hold words, each once. Raises DataError where there is none, or it is not UTF-8."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"--captions {path}: cannot be read as UTF-8 text: {error}") from error
    captions = list(dict.fromkeys(line for line in lines if line))
    if not captions:
        raise DataError(f"--captions {path}: holds no caption; write one a line")
    return captions


def respond(
    model: Predictor, request: Request, panels: list[Panel] | None = None, *, progress: Progress | None = None
) -> dict[str, Any]:
    """{"answers": […], "phrases": […], "captions_of_picture": […], "pictures_of_caption": […]}, as asked.

    Beside a ranking of pictures {"failures": [{"path", "error"}]} where some cannot be described; the others are
    ranked. Raises DataError where none can. panels: is given a panel for what a figure can show.
    """
    found: dict[str, Any] = {}
    if request.question:
        assert request.image is not None
        answers = model.answer(request.image, request.question, top=request.top)
        found["answers"] = [asdict(answer) for answer in answers]
        if panels is not None:
            from vltool.predict.figure import answering_panel

            panels.append(answering_panel(model, request.image, request.question, answers))
    if request.text and request.image is not None:
        phrases = model.ground(request.image, request.text, parser=request.parser)
        found["phrases"] = [asdict(phrase) for phrase in phrases]
        if panels is not None:
            from vltool.predict.figure import grounding_panel

            panels.append(grounding_panel(model, request.image, request.text, phrases, request.parser))
    if request.captions is not None or request.pictures is not None:
        found |= _ranked(model, request, panels, progress)
    return found


def unknown_words(model: Predictor, request: Request) -> list[str]:
    """The words of a request that the checkpoint never met; it reads each of them as the same unknown word."""
    sentences = [request.question, request.text, *(read_captions(request.captions) if request.captions else ())]
    return list(dict.fromkeys(word for sentence in sentences for word in model.unknown_words(sentence)))


def _ranked(
    model: Predictor, request: Request, panels: list[Panel] | None, progress: Progress | None
) -> dict[str, Any]:
    from vltool.features.sources import find_local_images

    images = find_local_images([path for path in (request.image or request.pictures,) if path is not None])
    captions = read_captions(request.captions) if request.captions else [request.text]
    described: list[Path] = []
    failures: list[dict[str, str]] = []
    for done, image in enumerate(images, start=1):
        try:
            model.pictures.add(image)
            described.append(image)
        except DataError as error:
            failures.append({"path": str(image), "error": str(error)})
            if len(failures) == len(images):
                raise
        if progress is not None:
            progress("describing pictures", done, len(images))
    scores = model.match(described, captions)  # (pictures, captions)
    names = [str(image) for image in described]
    if panels is not None:
        from vltool.predict.figure import matching_panel

        best, caption = np.unravel_index(int(scores.argmax()), scores.shape)
        panels.append(matching_panel(model, described[best], captions[caption], float(scores[best, caption])))
    found: dict[str, Any] = {"failures": failures} if failures else {}
    if len(captions) > 1 or request.image:
        found["captions_of_picture"] = [
            {"picture": name, "ranked": ranked(captions, scores[row], request.top)} for row, name in enumerate(names)
        ]
    if len(images) > 1 or request.pictures:
        found["pictures_of_caption"] = [
            {"caption": text, "ranked": ranked(names, scores[:, column], request.top)}
            for column, text in enumerate(captions)
        ]
    return found


def ranked(names: Sequence[str], scores: np.ndarray, top: int) -> list[dict[str, Any]]:
    """[{"name", "score"}], the best `top` first; equal scores in the order given."""
    best = np.argsort(-scores, kind="stable")[:top]
    return [{"name": names[k], "score": round(float(scores[k]), 6)} for k in best]
