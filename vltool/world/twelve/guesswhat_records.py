"""The generated world as GuessWhat?! writes its games: truthful answers that single out one object of a picture.

A game, one line of `guesswhat.train.jsonl.gz`:

    {"id": 1700, "image": {"id": 17, "file_name": "COCO_train2014_000000000017.jpg", "flickr_url": "", "coco_url": "",
      "height": 240, "width": 320}, "qas": [{"question": "is it a star ?", "answer": "Yes", "id": 170001}, …],
     "objects": [{"id": 171, "bbox": [x, y, width, height], "category": "star", "area": 3402.1, "category_id": 4,
                  "segment": [[…]]}, …], "object_id": 173, "status": "success", "timestamp": "2016-01-01 00:00:00"}

Format: GuessWhatGame/guesswhat, src/guesswhat/data_provider/guesswhat_dataset.py. Every game of this world ends well,
all objects of the picture are candidates, and its answers leave one of them.
"""

import gzip
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from vltool.world.coco_records import instances_file, picture_name
from vltool.world.phrases import Kind, adjectives, noun, with_article
from vltool.world.scene import COLOURS, SHAPES, SIZES, TEXTURES, Scene, SceneObject

_STREAM = 20  # third word of the random seed
_GAMES_A_PICTURE = 100  # numbers of games that are kept free for each picture
_QUESTIONS_A_GAME = 100
_SIDES = {"left": (0, -1), "right": (0, 1), "top": (1, -1), "bottom": (1, 1)}
_MIDDLE_PX = 16.0  # objects whose centre is nearer to the middle are on neither side
_Question = tuple[str, tuple[bool, ...]]  # the text, and its true answer for every object of the picture


def games(
    numbers: Sequence[int], scenes: Mapping[int, Scene], subsets: Mapping[int, str], *, per_picture: int
) -> list[dict[str, Any]]:
    """The games about these pictures, in their order; `subsets` says which COCO folder a picture is in."""
    found = []
    for number in numbers:
        scene = scenes[number]
        rng = np.random.default_rng([scene.seed, number, _STREAM])
        questions = list(_questions(scene, rng))
        targets = rng.permutation(len(scene.objects)).tolist()
        played = ((row, qas) for row in targets if (qas := _play(questions, row, rng)))
        about = _about(scene, subsets[number])
        for place, (row, qas) in enumerate(islice(played, per_picture)):
            found.append(_game(about, row, qas, number=number * _GAMES_A_PICTURE + place))
    return found


def packed(records: Iterable[Any]) -> bytes:
    """The records as gzipped JSON lines, without the time of their making."""
    return gzip.compress("".join(f"{json.dumps(record)}\n" for record in records).encode(), mtime=0)


def _play(questions: Sequence[_Question], target: int, rng: np.random.Generator) -> list[tuple[str, bool]]:
    """Questions and answers that leave the target alone; none if nothing that is asked here tells it apart."""
    left = set(range(len(questions[0][1])))
    qas: list[tuple[str, bool]] = []
    while len(left) > 1:
        useful = [(text, answers) for text, answers in questions if 0 < sum(answers[row] for row in left) < len(left)]
        if not useful:
            return []
        # People ask for the kind of thing first, and sooner what leaves fewer than what leaves more.
        weights = np.array([3.0 if text.startswith(("is it a ", "is it an ")) else 1.0 for text, _ in useful])
        text, answers = useful[int(rng.choice(len(useful), p=weights / weights.sum()))]
        qas.append((text, answers[target]))
        left = {row for row in left if answers[row] == answers[target]}
    return qas


def _questions(scene: Scene, rng: np.random.Generator) -> Iterator[_Question]:
    """What can be asked: each with its answer for every object. Places are asked for where no object is in between."""
    objects = scene.objects
    for kind in _kinds():
        yield f"is it {_named(kind, rng)} ?", tuple(_fits(item, kind) for item in objects)
    for side, (axis, sign) in _SIDES.items():
        middle = (scene.width, scene.height)[axis] / 2
        offsets = [sign * (item.centre[axis] - middle) for item in objects]
        if all(abs(offset) >= _MIDDLE_PX for offset in offsets):
            text = f"is it in the {side} half ?" if rng.random() < 0.5 else f"is it on the {side} side of the picture ?"
            yield text, tuple(offset > 0 for offset in offsets)


def _kinds() -> Iterator[Kind]:
    yield from (Kind(shape=shape) for shape in SHAPES)
    yield from (Kind(colour=colour) for colour in COLOURS)
    yield from (Kind(texture=texture) for texture in TEXTURES)
    yield from (Kind(size=size) for size in SIZES)
    yield from (Kind(colour=colour, shape=shape) for colour in COLOURS for shape in SHAPES)


def _named(kind: Kind, rng: np.random.Generator) -> str:
    """Words after "is it": "a star", "red", "a red one", "a red star"."""
    if kind.shape:
        return " ".join(with_article([*adjectives(kind), noun(kind)]))
    (word,) = adjectives(kind)
    return word if rng.random() < 0.6 else " ".join(with_article([word, "one"]))


def _fits(item: SceneObject, kind: Kind) -> bool:
    return all(value is None or getattr(item, name) == value for name, value in kind._asdict().items())


def _about(scene: Scene, subset: str) -> dict[str, Any]:
    """What all games about a picture say of it."""
    instances = instances_file(subset, [scene])
    names = {category["id"]: category["name"] for category in instances["categories"]}
    return {
        "image": {
            "id": scene.number,
            "file_name": picture_name(subset, scene.number),
            "flickr_url": "",
            "coco_url": "",
            "height": scene.height,
            "width": scene.width,
        },
        "objects": [
            {
                "id": entry["id"],
                "bbox": entry["bbox"],
                "category": names[entry["category_id"]],
                "area": entry["area"],
                "category_id": entry["category_id"],
                "segment": entry["segmentation"],
            }
            for entry in instances["annotations"]
        ],
    }


def _game(about: dict[str, Any], target: int, qas: Sequence[tuple[str, bool]], *, number: int) -> dict[str, Any]:
    return {
        "id": number,
        "image": about["image"],
        "qas": [
            {"question": text, "answer": "Yes" if truth else "No", "id": number * _QUESTIONS_A_GAME + place}
            for place, (text, truth) in enumerate(qas)
        ],
        "objects": about["objects"],
        "object_id": about["objects"][target]["id"],
        "status": "success",
        "timestamp": "2016-01-01 00:00:00",
    }
