"""The generated world as Visual Genome writes it: the pictures, those of COCO among them, and question answering.

One picture of `image_data.json`, and one of `question_answers.json` with a question of it:

    {"width": 320, "url": "", "height": 240, "image_id": 2300017, "coco_id": 17, "flickr_id": null}
    {"id": 2300017, "qas": [{"a_objects": [], "question": "How many stars are there?", "image_id": 2300017,
                             "qa_id": 1700004, "answer": "Two.", "q_objects": []}]}

Visual Genome has no yes-or-no questions; its answers are phrases with a capital letter and a full stop.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vltool.world import open_questions as open_
from vltool.world.caption_writer import SCENE_PHRASES
from vltool.world.phrases import NUMBER_WORDS
from vltool.world.queries import Asked, Query, View
from vltool.world.scene import Scene
from vltool.world.twelve.balance import draw_balanced
from vltool.world.twelve.splits import VISUAL_GENOME_FIRST

_QUESTION_STREAM, _WORDING_STREAM = 14, 15  # third words of the random seed
_A_PICTURE = 100  # numbers of questions that are kept free for each picture


@dataclass(frozen=True)
class _Family:
    share: float
    ask: Callable[[View], Asked]
    word: Callable[[Query], tuple[str, ...]]


def visual_genome_id(number: int) -> int:
    """Visual Genome's id of a picture, e.g. 2300017 of picture 17."""
    return VISUAL_GENOME_FIRST + number


def image_data(scenes: Sequence[Scene], *, coco: Collection[int]) -> list[dict[str, Any]]:
    """The content of image_data.json; `coco` holds the numbers of the pictures that COCO has too."""
    return [
        {
            "width": scene.width,
            "url": "",
            "height": scene.height,
            "image_id": visual_genome_id(scene.number),
            "coco_id": scene.number if scene.number in coco else None,
            "flickr_id": None,
        }
        for scene in scenes
    ]


def question_answers(scenes: Sequence[Scene], *, per_picture: int, seed: int) -> list[dict[str, Any]]:
    """The content of question_answers.json for these pictures, each question in pairs that are answered differently."""
    views = [View(scene) for scene in scenes]
    asked = draw_balanced(
        [{name: dict(family.ask(view)) for name, family in _FAMILIES.items()} for view in views],
        {name: family.share for name, family in _FAMILIES.items()},
        per_picture=per_picture,
        group_size=2,
        rng=np.random.default_rng([seed, len(scenes), _QUESTION_STREAM]),
    )
    of_picture: dict[int, list[tuple[str, str]]] = defaultdict(list)
    for entry in asked:
        number = scenes[entry.picture].number
        rng = np.random.default_rng([seed, number, _WORDING_STREAM, len(of_picture[number])])
        wordings = _FAMILIES[entry.family].word(entry.query)
        of_picture[number].append((wordings[int(rng.integers(len(wordings)))], entry.answer))
    return [
        {"id": visual_genome_id(number), "qas": [_qa(number, row, *texts) for row, texts in enumerate(found)]}
        for number, found in sorted(of_picture.items())
    ]


def _qa(number: int, row: int, question: str, answer: str) -> dict[str, Any]:
    return {
        "a_objects": [],
        "question": question,
        "image_id": visual_genome_id(number),
        "qa_id": number * _A_PICTURE + row,
        "answer": f"{answer[0].upper()}{answer[1:]}.",
        "q_objects": [],
    }


def _ask_count(view: View) -> Asked:
    return ((query, NUMBER_WORDS[int(number)]) for query, number in open_.ask_count(view) if number != "0")


def _ask_where(view: View) -> Asked:
    preposition, name, *_ = SCENE_PHRASES[view.scene.background]
    yield Query("where"), f"{preposition} {name}"


_FAMILIES = {
    "colour": _Family(18, open_.ask_colour, open_.word_colour),
    "group colour": _Family(2, open_.ask_group_colour, open_.word_group_colour),
    "count": _Family(18, _ask_count, open_.word_count),
    "shape": _Family(14, open_.ask_shape, open_.word_shape),
    "pattern": _Family(12, open_.ask_pattern, open_.word_pattern),
    "size": _Family(3, open_.ask_size, open_.word_size),
    "where": _Family(4, _ask_where, lambda _: ("Where are the shapes?", "Where was the picture taken?")),
    "neighbour colour": _Family(2, open_.ask_neighbour_colour, open_.word_neighbour_colour),
    "neighbour shape": _Family(2, open_.ask_neighbour_shape, open_.word_neighbour_shape),
}
