"""Figures in the manner of the paper's Figure 2: one question and picture, seen by the decoders of all kinds of task.

For each picture a row: the top region of each noun phrase, the attention of the retrieval decoder with its matching
score, and that of the VQA decoder with its answer. Where a question is asked about two pictures with different
answers, their rows stand below each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from vltool.datasets.records import GroundedCaption, Phrase
from vltool.report.attention import NUM_CANDIDATES, Box, Exhibit, Looker, Mark, Panel, spread
from vltool.report.noun_phrases import PhraseFinder
from vltool.report.task_exhibits import answered_panels, complementary_pairs, share
from vltool.structures import Example
from vltool.tasks.batching import Batching
from vltool.tasks.caption_retrieval import CaptionRetrieval
from vltool.tasks.grounding import VisualGrounding
from vltool.tasks.task import Task
from vltool.tasks.vqa import VisualQuestionAnswering

TITLE = "one question, every decoder"


@dataclass(frozen=True)
class Decoders:
    """The tasks of one joint model, as far as it has them; finder: of the phrases of questions."""

    answering: VisualQuestionAnswering
    matching: CaptionRetrieval | None
    grounding: VisualGrounding | None
    finder: PhraseFinder

    @classmethod
    def of(cls, tasks: Sequence[Task[Any]], grounded: Sequence[Example]) -> Decoders | None:
        """None where the model answers no questions, or has no second decoder to set beside it."""
        kinds = (VisualQuestionAnswering, CaptionRetrieval, VisualGrounding)
        answering, matching, grounding = (
            next((task for task in tasks if isinstance(task, kind)), None) for kind in kinds
        )
        if answering is None or (matching is None and grounding is None):
            return None
        finder = PhraseFinder.from_captions(example.target for example in grounded)
        return cls(answering, matching, grounding, finder)  # type: ignore[arg-type]


def side_by_side(decoders: Decoders, looker: Looker, questions: Sequence[Example]) -> list[Exhibit]:
    """Exhibits to choose from: pairs of pictures with different answers, then single questions; phrases first."""
    groups: list[tuple[Example, ...]] = [*spread(complementary_pairs(questions), NUM_CANDIDATES)]
    rest = [example for example in questions if example.target.answers]
    groups += [(example,) for example in spread(rest, max(0, NUM_CANDIDATES - len(groups)))]
    if decoders.grounding is not None:
        groups.sort(key=lambda group: not _spans(decoders, looker, group[0]))
    return [_exhibit(decoders, looker, group) for group in groups]


def _spans(decoders: Decoders, looker: Looker, question: Example) -> list[tuple[int, int]]:
    return decoders.finder.find(looker.batching.tokens[question.rows[0][1]])


def _exhibit(decoders: Decoders, looker: Looker, group: tuple[Example, ...]) -> Exhibit:
    panels: list[Panel] = []
    answered = answered_panels(decoders.answering, looker, group)
    columns = 1
    for question, (answer, _) in zip(group, answered, strict=True):
        row = [
            *_grounded(decoders, looker, question),
            *_matched(decoders, looker, question),
            replace(answer, heading=_heading(looker, decoders.answering)),
        ]
        columns = len(row)
        panels += row
    right = all(found for _, found in answered)
    return Exhibit(decoders.answering.name, TITLE, right, tuple(panels), columns=columns)


def _matched(decoders: Decoders, looker: Looker, question: Example) -> list[Panel]:
    task = decoders.matching
    if task is None:
        return []
    logits, _, (panel,) = looker.look(task, [Example(question.example_id, question.rows, None)])
    line = f"matching score {share(float(logits.sigmoid().flatten()[0]))}"
    return [replace(panel, heading=_heading(looker, task), lines=(line,))]


def _grounded(decoders: Decoders, looker: Looker, question: Example) -> list[Panel]:
    """The top region of each noun phrase of a question; none where it has no phrase that the grounding data knows."""
    task, spans = decoders.grounding, _spans(decoders, looker, question)
    if task is None or not spans:
        return []
    image_id, sentence = question.rows[0]
    tokens = looker.batching.tokens[sentence]
    if task.align(tokens).tokens != tokens:  # words that fall apart when they are read again, as don't
        return []
    regions = looker.batching.regions.get(image_id)
    everything = ((0.0, 0.0, float(regions.width), float(regions.height)),)  # nobody has annotated it
    phrases = tuple(Phrase(start, end - start, "", (), everything) for start, end in spans)
    record = GroundedCaption(image_id, 0, tokens, phrases, height=regions.height, width=regions.width)
    joined = " ".join(tokens)
    batching, ids = looker.batching, {joined: looker.batching.token_ids[sentence]}
    own = Batching(batching.regions, {joined: tokens}, ids, frames=batching.frames)
    logits, _, (panel,) = replace(looker, batching=own).look(
        task, [Example(question.example_id, ((image_id, joined),), record)]
    )
    probabilities = logits[0, : len(spans), : regions.num_regions].sigmoid()
    marks = tuple(
        Mark(" ".join(tokens[start:end]), (start, end), _box(regions.boxes[best]), float(value), None, ())
        for (start, end), value, best in zip(spans, *torch.max(probabilities, dim=1), strict=True)
    )
    lines = tuple(f"{mark.phrase}: {share(mark.probability)}" for mark in marks)
    return [replace(panel, heading=_heading(looker, task), marks=marks, lines=lines)]


def _heading(looker: Looker, task: Task[Any]) -> str:
    return f"{task.name} (level {looker.model.level(task.name)})"


def _box(box: Any) -> Box:
    x1, y1, x2, y2 = (float(value) for value in box)
    return x1, y1, x2, y2
