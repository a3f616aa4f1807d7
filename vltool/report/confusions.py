"""The hardest confusions of a run's model on the test split, from what `eval` left: which wrong things it put first.

A kind of task joins with one function registered on `confusions`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import singledispatch
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vltool.errors import DataError
from vltool.json_files import read_json
from vltool.metrics.answer_words import normalize_answer
from vltool.metrics.localization import correct_regions
from vltool.report.run_records import GivenAnswer, Gold, RankedBoxes, checked
from vltool.report.table import Table
from vltool.report.task_exhibits import most_common
from vltool.structures import Example
from vltool.tasks.caption_retrieval import CaptionRetrieval
from vltool.tasks.grounding import VisualGrounding, asked_phrases
from vltool.tasks.task import Task
from vltool.tasks.vqa import VisualQuestionAnswering

SHOWN = 10
"""Rows of a table of confusions."""

_SCORES_AT_ONCE = 4_000_000
_LONGEST = 90  # letters of a caption


@dataclass(frozen=True)
class Left:
    """What an evaluation left of one task. examples: of the same split; folder and stem: of its files."""

    examples: Sequence[Example]
    folder: Path
    stem: str

    def path(self, kind: str) -> Path:
        return self.folder / f"{self.stem}-{kind}"

    def read(self, kind: str, shape: Any) -> Any:
        """Raises DataError if the file is not there, or holds something else."""
        path = self.path(kind)
        return checked(read_json(path, next_step=AGAIN), shape, path, next_step=AGAIN)


AGAIN = "Score the run again: vltool eval"


@singledispatch
def confusions(task: Task[Any], left: Left) -> list[Table]:
    """Tables of what the model took for what. Raises DataError for files that are damaged or of other examples."""
    return []


@confusions.register
def _answers(task: VisualQuestionAnswering, left: Left) -> list[Table]:
    records = left.read("predictions.json", list[GivenAnswer])
    given = {record["question_id"]: record["answer"] for record in records}
    wrong, asked = Counter[tuple[str, str]](), Counter[str]()
    for example in left.examples:
        if not example.target.answers or example.target.question_id not in given:
            continue
        true, answer = normalize_answer(most_common(example.target.answers)), given[example.target.question_id]
        asked[true] += 1
        if answer not in {true, *example.target.answers}:
            wrong[true, answer] += 1
    rows = [
        {"True answer": true, "Answered": answer, "Times": count, "Of its questions, %": 100 * count / asked[true]}
        for (true, answer), count in wrong.most_common(SHOWN)
    ]
    return _table(
        f"{task.name}: answers that are confused most often",
        rows,
        f"Answers that no annotator gave: {sum(wrong.values()):,} of {sum(asked.values()):,} questions. Of its "
        "questions: those whose true answer, of most annotators, is the one on the left.",
    )


@confusions.register
def _captions(task: CaptionRetrieval, left: Left) -> list[Table]:
    scores, owner = _scores_of(left)
    rivals = hardest_captions(scores, owner)
    texts = [example.rows[0][1] for example in left.examples]
    images = list(dict.fromkeys(example.rows[0][0] for example in left.examples))
    if not np.isfinite(rivals.margin).all():
        raise DataError(f"{left.path('scores.npy')}: holds scores that are no numbers. {AGAIN}")
    wrong = rivals.margin > 0
    rows = [
        {
            "Picture": images[k],
            "Wrong caption that ranks first": _shortened(texts[rivals.wrong[k]]),
            "of picture": images[owner[rivals.wrong[k]]],
            "Score": _percent(scores[k, rivals.wrong[k]]),
            "Best of its own": _shortened(texts[rivals.own[k]]),
            "its score": _percent(scores[k, rivals.own[k]]),
        }
        for k in np.argsort(-rivals.margin, kind="stable")[:SHOWN]
        if wrong[k]
    ]
    tables = _table(
        f"{task.name}: wrong captions that beat a picture's own by most",
        rows,
        f"For {int(wrong.sum()):,} of {len(images):,} pictures a caption of another ranks first. By the difference of "
        "the logits; scores are the decoder's, in percent.",
    )
    often = Counter(rivals.wrong[wrong].tolist()).most_common(SHOWN)
    hubs = [
        {"Caption": _shortened(texts[k]), "of picture": images[owner[k]], "Times": count}
        for k, count in often
        if count > 1
    ]
    return tables + _table(
        f"{task.name}: captions that most often come first for pictures that are not theirs", hubs, ""
    )


@confusions.register
def _phrases(task: VisualGrounding, left: Left) -> list[Table]:
    records = left.read("predictions.json", list[RankedBoxes])
    top = {(str(r["image_id"]), r["sentence"], r["phrase"]): r["boxes"][:1] for r in records}
    missed, asked = Counter[str](), Counter[str]()
    for example in left.examples:
        caption = example.target
        numbers = {id(phrase): number for number, phrase in enumerate(caption.phrases)}
        for phrase in asked_phrases(example):
            key = (str(caption.image_id), caption.sentence_index, numbers[id(phrase)])
            if key not in top:
                continue
            words = caption.tokens[phrase.first_word : phrase.first_word + phrase.num_words]
            text = " ".join(words).lower()
            asked[text] += 1
            missed[text] += not correct_regions(top[key], phrase.boxes, protocol=task.options.boxes).any()
    rows = [
        {"Phrase": text, "Missed": count, "Asked": asked[text]} for text, count in missed.most_common(SHOWN) if count
    ]
    return _table(
        f"{task.name}: phrases whose first region is wrong most often",
        rows,
        f"{sum(missed.values()):,} of {sum(asked.values()):,} phrases. Asked: how often the phrase, in the same words, "
        "is asked.",
    )


def _table(title: str, rows: list[dict[str, Any]], note: str) -> list[Table]:
    return [Table(title, pd.DataFrame(rows), note=note)] if rows else []


@dataclass(frozen=True)
class Rivals:
    """For each picture (I,): its best own caption, the best of the others, and by how much that one beats it."""

    own: np.ndarray
    wrong: np.ndarray
    margin: np.ndarray


def hardest_captions(scores: np.ndarray, owner: np.ndarray) -> Rivals:
    """scores (I, C), read some rows at a time; owner (C,): the row of each caption's picture."""
    own, wrong, margin = (np.zeros(len(scores), kind) for kind in (np.int64, np.int64, np.float64))
    at_once = max(1, _SCORES_AT_ONCE // scores.shape[1])
    for start in range(0, len(scores), at_once):
        rows = np.arange(start, min(start + at_once, len(scores)))
        is_own = owner[None, :] == rows[:, None]
        found = np.asarray(scores[rows], np.float64)
        for place, mask in ((own, ~is_own), (wrong, is_own)):
            place[rows] = np.where(mask, -np.inf, found).argmax(axis=1)
        lines = np.arange(len(rows))
        margin[rows] = found[lines, wrong[rows]] - found[lines, own[rows]]
    return Rivals(own, wrong, margin)


def _scores_of(left: Left) -> tuple[np.ndarray, np.ndarray]:
    gold, path = left.read("gold.json", Gold), left.path("scores.npy")
    ids = [example.example_id for example in left.examples]
    if gold["captions"] != ids:
        raise DataError(f"{left.path('gold.json')}: is of other captions than the run has now. {AGAIN}")
    owner = np.array(gold["caption_image"], np.int64)
    try:
        scores = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: cannot be read ({error}). {AGAIN}") from error
    if scores.shape != (len(gold["images"]), len(owner)) or scores.dtype.kind != "f":
        raise DataError(
            f"{path}: {scores.dtype} of shape {scores.shape} does not fit {left.path('gold.json')}. {AGAIN}"
        )
    return scores, owner


def _percent(logit: float) -> float:
    return float(100 / (1 + np.exp(-float(logit))))


def _shortened(caption: str) -> str:
    return caption if len(caption) <= _LONGEST else caption[: _LONGEST - 2].rstrip() + "…"
