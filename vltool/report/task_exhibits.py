"""Exhibits of the three kinds of task, as `candidates` of attention.py: answers, matches and groundings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from vltool.evaluation.pair_scores import score_all_pairs
from vltool.metrics.answer_words import normalize_answer
from vltool.metrics.localization import correct_regions
from vltool.report.attention import NUM_CANDIDATES, Box, Exhibit, Looker, Mark, Panel, candidates, spread
from vltool.structures import Example
from vltool.tasks.caption_retrieval import CaptionRetrieval
from vltool.tasks.grounding import VisualGrounding, asked_phrases
from vltool.tasks.vqa import VisualQuestionAnswering

NUM_RIVALS = 100
"""Pictures among which a caption looks for its own."""


@candidates.register
def _answers(task: VisualQuestionAnswering, looker: Looker, examples: Sequence[Example]) -> list[Exhibit]:
    """Pairs of a question about two pictures with another answer, or single questions where there are no pairs."""
    groups: list[tuple[Example, ...]] = [*spread(complementary_pairs(examples), NUM_CANDIDATES)]
    if len(groups) < NUM_CANDIDATES:
        paired = {example.example_id for pair in groups for example in pair}
        rest = [example for example in examples if example.example_id not in paired and example.target.answers]
        groups += [(example,) for example in spread(rest, NUM_CANDIDATES - len(groups))]
    asked = list({example.example_id: example for group in groups for example in group}.values())
    if not asked:
        return []
    answered = {
        example.example_id: found for example, found in zip(asked, answered_panels(task, looker, asked), strict=True)
    }
    found = []
    for group in groups:
        parts = [answered[example.example_id] for example in group]
        title = "one question, two pictures" if len(group) > 1 else "a question"
        found.append(Exhibit(task.name, title, all(right for _, right in parts), tuple(panel for panel, _ in parts)))
    return found


def answered_panels(
    task: VisualQuestionAnswering, looker: Looker, asked: Sequence[Example]
) -> list[tuple[Panel, bool]]:
    """For each question a panel with the model's answer and the annotators', and whether the two agree."""
    logits, _, panels = looker.look(task, asked)
    pool: Any = task.pool
    found = []
    for example, scores, panel in zip(asked, logits, panels, strict=True):
        best = int(scores.argmax())
        right = pool.answers[best] == normalize_answer(most_common(example.target.answers))
        lines = (
            f"answer: {pool.answers[best]} ({share(float(scores[best].sigmoid()))}) {_sign(right)}",
            told(example.target.answers),
        )
        found.append((replace(panel, lines=lines), right))
    return found


def complementary_pairs(examples: Sequence[Example]) -> list[tuple[Example, ...]]:
    """For each question asked about several pictures with different answers: two such examples."""
    by_question: dict[str, list[Example]] = {}
    for example in examples:
        if example.target.answers:
            by_question.setdefault(example.target.question, []).append(example)
    pairs: list[tuple[Example, ...]] = []
    for group in by_question.values():
        first, answer = group[0], most_common(group[0].target.answers)
        others = (
            other
            for other in group[1:]
            if other.rows[0][0] != first.rows[0][0] and most_common(other.target.answers) != answer
        )
        if (second := next(others, None)) is not None:
            pairs.append((first, second))
    return pairs


@candidates.register
def _matches(task: CaptionRetrieval, looker: Looker, examples: Sequence[Example]) -> list[Exhibit]:
    """A caption with its own picture, and with the picture that comes next or is wrongly put first."""
    by_image = {example.rows[0][0]: example for example in reversed(examples)}  # the first caption of each
    pictures = spread(list(reversed(by_image.values())), NUM_RIVALS)
    if len(pictures) < 2:
        return []
    image_ids = [example.rows[0][0] for example in pictures]
    own = spread(range(len(pictures)), NUM_CANDIDATES)
    tokens, token_mask = looker.batching.sentences([pictures[k].rows[0][1] for k in own], task=task.name)
    scores = score_all_pairs(
        looker.model,
        task.name,
        *looker.batching.images(image_ids),
        tokens,
        token_mask,
        device=looker.device,
        precision="float32",
    )  # (pictures, captions)
    pairs, ranks = [], []
    for column, k in enumerate(own):
        others = scores[:, column].copy()
        others[k] = -np.inf
        rival = pictures[int(others.argmax())].rows[0][0]
        ranks.append(1 + int((others >= scores[k, column]).sum()))
        pairs += [
            pictures[k],
            Example(f"{pictures[k].example_id} with {rival}", ((rival, pictures[k].rows[0][1]),), None),
        ]
    logits, _, panels = looker.look(task, pairs)
    probabilities = logits.sigmoid().flatten().tolist()
    found = []
    for place, rank in enumerate(ranks):
        own_panel, rival_panel = panels[2 * place : 2 * place + 2]
        own_score, rival_score = (f"score {share(value)}" for value in probabilities[2 * place : 2 * place + 2])
        where = f"rank {rank} of {len(pictures)} pictures {_sign(rank == 1)}"
        shown = (
            replace(own_panel, heading="its own picture", lines=(own_score, where)),
            replace(rival_panel, heading="the best of the others", lines=(rival_score,)),
        )
        found.append(Exhibit(task.name, "a caption and its best rival picture", rank == 1, shown))
    return found


@candidates.register
def _groundings(task: VisualGrounding, looker: Looker, examples: Sequence[Example]) -> list[Exhibit]:
    """The top region of every phrase of a caption; captions with several phrases first."""
    chosen = spread(examples, NUM_CANDIDATES)
    if not chosen:
        return []
    logits, rows, panels = looker.look(task, chosen)
    spans = task.tensors(chosen, rows, 1)[0]["phrase_spans"].tolist()
    found = []
    for k, (example, row, panel) in enumerate(zip(chosen, rows, panels, strict=True)):
        marks = []
        for p, phrase in enumerate(asked_phrases(example)):
            scores = logits[k, p, : row.regions.num_regions]
            best = int(scores.argmax())
            right = bool(correct_regions(row.regions.boxes, phrase.boxes, protocol=task.options.boxes)[best])
            start, end = spans[k][p]
            marks.append(
                Mark(
                    phrase=" ".join(row.tokens[start:end]),
                    span=(start, end),
                    box=_box(row.regions.boxes[best]),
                    probability=float(scores[best].sigmoid()),
                    right=right,
                    truth=tuple(_box(box) for box in phrase.boxes),
                )
            )
        lines = (f"{sum(bool(mark.right) for mark in marks)} of {len(marks)} phrases right",)
        all_right = all(bool(mark.right) for mark in marks)
        found.append(
            Exhibit(task.name, "phrases of a caption", all_right, (replace(panel, marks=tuple(marks), lines=lines),))
        )
    return sorted(found, key=lambda exhibit: -min(len(exhibit.panels[0].marks), 3))


def told(answers: Sequence[str]) -> str:
    """What the annotators said, one line."""
    counts = Counter(answers).most_common()
    if len(counts) == 1:
        return f"true answer: {counts[0][0]}"
    return "annotators: " + ", ".join(f"{answer} ({count})" for answer, count in counts)


def most_common(answers: Sequence[str]) -> str:
    """What most annotators said; the first said among equals."""
    return Counter(answers).most_common(1)[0][0] if answers else "–"


def _box(box: Iterable[float]) -> Box:
    x1, y1, x2, y2 = (float(value) for value in box)
    return x1, y1, x2, y2


def share(value: float) -> str:
    """A probability as figures say it: 83 %."""
    return f"{100 * value:.0f} %" if value >= 0.01 else "< 1 %"


def _sign(right: bool) -> str:
    return "✓" if right else "✗"
