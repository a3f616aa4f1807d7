"""The generated world as Visual7W writes its pointing questions: which of four boxes is meant.

A picture with one of its questions, and a box, of `dataset_v7w_pointing.json`:

    {"image_id": 2300017, "filename": "v7w_2300017.jpg", "split": "train", "qa_pairs": [{"image_id": 2300017,
      "qa_id": 1702, "type": "which", "question": "Which star is red?", "answer": 173,
      "multiple_choices": [171, 172, 174]}]}
    {"box_id": 173, "name": "star", "x": 12, "y": 40, "width": 70, "height": 64}

`multiple_choices` are the three wrong boxes, all of the same picture; what the question says fits the answer alone,
among all objects of the picture. Format: yukezhu/visual7w-toolkit, common/data_provider.py.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vltool.world.phrases import objects_towards, relation, the_kind, unique_kinds
from vltool.world.queries import View
from vltool.world.scene import Scene
from vltool.world.twelve.visual_genome_records import visual_genome_id

NUM_CHOICES = 4
_STREAM = 19  # third word of the random seed
_A_PICTURE = 100  # numbers of questions that are kept free for each picture
_PREDICATES = ("colour", "texture", "size")


def pointing_file(
    splits: Mapping[str, Sequence[int]], scenes: Mapping[int, Scene], *, per_picture: int
) -> dict[str, Any]:
    """The content of dataset_v7w_pointing.json, without the pictures that have fewer than four objects."""
    split_of = {number: split for split, numbers in splits.items() for number in numbers}
    images, boxes = [], []
    for number in sorted(split_of):
        pairs = _questions(scenes[number], per_picture)
        if pairs:
            images.append(
                {
                    "image_id": visual_genome_id(number),
                    "filename": f"v7w_{visual_genome_id(number)}.jpg",
                    "split": split_of[number],
                    "qa_pairs": pairs,
                }
            )
            boxes += _boxes(scenes[number])
    return {"dataset": "visual7w-pointing", "boxes": boxes, "images": images}


def _questions(scene: Scene, wanted: int) -> list[dict[str, Any]]:
    """Up to so many questions about different objects first, each with its four boxes."""
    if len(scene.objects) < NUM_CHOICES:
        return []
    view = View(scene)
    rng = np.random.default_rng([scene.seed, scene.number, _STREAM])
    asked: list[tuple[int, str]] = []
    while_new = 0
    while len(asked) < wanted and while_new < 3:  # rounds over the objects without a new question end it
        before = len(asked)
        for row in rng.permutation(len(scene.objects)).tolist():
            texts = [text for text in _texts(view, row) if (row, text) not in asked]
            if texts and len(asked) < wanted:
                asked.append((row, texts[int(rng.integers(len(texts)))]))
        while_new += len(asked) == before
    return [
        {
            "image_id": visual_genome_id(scene.number),
            "qa_id": scene.number * _A_PICTURE + place,
            "type": "which",
            "question": text,
            "answer": _box_id(scene, row),
            "multiple_choices": [_box_id(scene, other) for other in _wrong(scene, row, rng)],
        }
        for place, (row, text) in enumerate(asked)
    ]


def _texts(view: View, row: int) -> list[str]:
    """What can be asked so that this object alone is the answer."""
    texts = []
    for kind in unique_kinds(view.index).get(row, []):
        if not 2 <= kind.num_attributes <= 3:
            continue
        for name in _PREDICATES:
            if value := getattr(kind, name):
                subject = kind._replace(**{name: None})
                texts.append(f"Which {the_kind(subject).removeprefix('the ')} is {value}?")
    objects = view.scene.objects
    for anchor, other in view.plain_names:
        side = relation(objects[row], objects[other]) if other != row else None
        if side and objects_towards(view.scene, other, side) == [row]:
            texts.append(f"Which shape is {side} {the_kind(anchor)}?")
    return texts


def _wrong(scene: Scene, row: int, rng: np.random.Generator) -> list[int]:
    """Three other objects of the picture, those that look like the answer sooner."""
    here = scene.objects[row]
    others = [other for other in range(len(scene.objects)) if other != row]

    def likeness(other: int) -> int:
        item = scene.objects[other]
        return (item.shape == here.shape) + (item.colour == here.colour) + (item.texture == here.texture)

    order = sorted(others, key=lambda other: (-likeness(other), rng.random()))
    return sorted(order[: NUM_CHOICES - 1])


def _box_id(scene: Scene, row: int) -> int:
    return scene.number * 10 + row + 1


def _boxes(scene: Scene) -> list[dict[str, Any]]:
    boxes = []
    for row, item in enumerate(scene.objects):
        x1, y1, x2, y2 = (round(value) for value in item.box)
        boxes.append(
            {"box_id": _box_id(scene, row), "name": item.shape, "x": x1, "y": y1, "width": x2 - x1, "height": y2 - y1}
        )
    return boxes
