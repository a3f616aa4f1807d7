"""What a checkpoint saw, as one picture file: the regions, the words, and what it says, in the manner of Figure 2."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image as PillowImage

from vltool.json_files import whole_file
from vltool.predict.predictor import Answer, GroundedPhrase, Image, Predictor, grounding_example, marked_sentence
from vltool.report.attention import Looker, Mark, Panel
from vltool.report.pictures import draw_panel, mark_colour
from vltool.report.sentences import REDDEST
from vltool.structures import Example
from vltool.tasks.caption_retrieval import CaptionRetrieval
from vltool.tasks.grounding import VisualGrounding
from vltool.tasks.task import Task
from vltool.tasks.vqa import VisualQuestionAnswering

_WIDTH_INCHES = 4.8  # of each picture
_LINE_INCHES = 0.27
_LETTERS_PER_LINE = 58


def answering_panel(predictor: Predictor, image: Image, question: str, answers: Sequence[Answer]) -> Panel:
    """The picture, bright where the VQA decoder looks, its question, and the answers."""
    task = predictor.task_of(VisualQuestionAnswering, "answers questions")
    example = predictor.example(task, predictor.pictures.add(image), question)
    lines = tuple(f"{100 * answer.probability:.0f} %  {answer.answer}" for answer in answers)
    return replace(_look(predictor, task, example), lines=lines)


def matching_panel(predictor: Predictor, image: Image, caption: str, probability: float) -> Panel:
    """The picture, bright where the retrieval decoder looks, and the caption with its score."""
    task = predictor.task_of(CaptionRetrieval, "matches pictures and captions")
    example = predictor.example(task, predictor.pictures.add(image), caption)
    return replace(_look(predictor, task, example), lines=(f"matching score {100 * probability:.0f} %",))


def grounding_panel(
    predictor: Predictor, image: Image, text: str, found: Sequence[GroundedPhrase], parser: str
) -> Panel:
    """The picture with the best region of each phrase."""
    task = predictor.task_of(VisualGrounding, "grounds phrases")
    image_id = predictor.pictures.add(image)
    example = grounding_example(image_id, marked_sentence(text, parser), predictor.pictures.get(image_id))
    marks = tuple(Mark(item.phrase, item.span, item.box, item.probability, None, ()) for item in found)
    lines = tuple(f"{place + 1}  {item.phrase}: {100 * item.probability:.0f} %" for place, item in enumerate(found))
    return replace(_look(predictor, task, example), marks=marks, lines=lines)


def _look(predictor: Predictor, task: Task[Any], example: Example) -> Panel:
    detector = predictor.pictures.detector
    looker = Looker(
        predictor.model,
        predictor.batching_of(example.rows[0][1]),
        predictor.device,
        detector.class_names,
        detector.attribute_names,
    )
    return looker.look(task, [example])[2][0]


def save_figure(path: str | Path, panels: Sequence[Panel], predictor: Predictor) -> None:
    """Draw panels side by side into a file, of the kind that its suffix says."""
    path = Path(path)
    rows = max(len(wrapped(panel)) + len(panel.lines) for panel in panels)
    tallest = max(_WIDTH_INCHES * panel.height / panel.width for panel in panels)
    below = _LINE_INCHES * (rows + 1)
    figure = Figure(figsize=(_WIDTH_INCHES * len(panels), tallest + below), dpi=150)
    FigureCanvasAgg(figure)
    total = tallest + below
    for place, panel in enumerate(panels):
        share = (_WIDTH_INCHES * panel.height / panel.width) / total
        left, width = place / len(panels), 0.98 / len(panels)
        axes = figure.add_axes((left + 0.01 / len(panels), 1 - share, width, share))
        axes.set_axis_off()
        axes.imshow(_pixels_of(draw_panel(panel, predictor.pictures.pixels.get(panel.image_id)).source), aspect="auto")
        words = figure.add_axes((left + 0.01 / len(panels), 0, width, below / total))
        words.set_axis_off()
        words.set_xlim(0, 1)
        words.set_ylim(rows + 1, 0)
        _write(words, panel)
    with whole_file(path) as file:
        figure.savefig(file, format=path.suffix[1:].lower())


def wrapped(panel: Panel) -> list[list[int]]:
    """The tokens of a panel's sentence (their places) by line."""
    lines: list[list[int]] = [[]]
    length = 0
    for place, token in enumerate(panel.tokens):
        if length + len(token) > _LETTERS_PER_LINE and lines[-1]:
            lines.append([])
            length = 0
        lines[-1].append(place)
        length += len(token) + 1
    return lines


def _write(axes: Axes, panel: Panel) -> None:
    renderer = axes.figure.canvas.get_renderer()  # type: ignore[attr-defined]
    most = max(float(np.max(panel.word_weights, initial=0)), 1e-9) if panel.word_weights is not None else 0.0
    colours = {k: mark_colour(place) for place, mark in enumerate(panel.marks) for k in range(*mark.span)}
    lines = wrapped(panel)
    for row, places in enumerate(lines):
        x = 0.01
        for place in places:
            weight = float(panel.word_weights[place]) / most if panel.word_weights is not None else 0.0
            back = {"facecolor": (0.86, 0.15, 0.12, REDDEST * weight), "edgecolor": "none", "pad": 1.5}
            shown = axes.text(x, row + 0.6, panel.tokens[place], fontsize=9, va="center", bbox=back)
            shown.set_color(colours.get(place, "black"))
            extent = shown.get_window_extent(renderer).transformed(axes.transData.inverted())
            x = extent.x1 + 0.014
    for row, line in enumerate(panel.lines):
        axes.text(0.01, len(lines) + row + 0.6, line, fontsize=9, va="center", color="#222")


def _pixels_of(source: str) -> np.ndarray:
    """The pixels of a data URI."""
    return np.asarray(PillowImage.open(io.BytesIO(base64.b64decode(source.split(",", 1)[1]))))
