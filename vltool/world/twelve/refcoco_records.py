"""The generated world as RefCOCO, RefCOCO+ and RefCOCOg write it: refs and the objects they refer to.

One entry of `refs(unc).p` (a pickled list) and what stands for it in `instances.json`:

    {"sent_ids": [7, 8, 9], "file_name": "COCO_train2014_000000000017_173.jpg", "ann_id": 173, "ref_id": 3,
     "image_id": 17, "split": "train", "category_id": 4, "sentences": [
        {"tokens": ["left", "red", "star"], "raw": "left red star", "sent_id": 7, "sent": "left red star"}, …]}
    {"images": […], "annotations": [{"id": 173, "image_id": 17, "category_id": 4, "bbox": [x, y, width, height], …}],
     "categories": […]}

Format: lichengunc/refer, README. RefCOCO's testA holds refs to circles, squares and triangles alone, testB those to
stars, hearts and crosses (as the originals' hold people and other things). The pickle is of protocol 2, as Python 2
wrote it, and holds nothing but lists, dicts, strings and integers.
"""

import json
import pickle
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from vltool.world.coco_records import CATEGORIES, picture_name
from vltool.world.queries import View
from vltool.world.scene import SHAPES, Scene
from vltool.world.twelve.expressions import Expressions

_STREAMS = {"refcoco": 16, "refcoco+": 17, "refcocog": 18}  # third words of the random seed
_REFS_A_PICTURE = 4
_SENTENCES_A_REF = {"refcoco": 3, "refcoco+": 3, "refcocog": 2}
_CATEGORY_IDS = {category["name"]: category["id"] for category in CATEGORIES}
_SHAPES_OF = {"testA": SHAPES[:3], "testB": SHAPES[3:]}
_Say = Callable[[int, np.random.Generator], str | None]


def refs(dataset: str, splits: Mapping[str, Sequence[int]], scenes: Mapping[int, Scene]) -> list[dict[str, Any]]:
    """The refs of a dataset ("refcoco", "refcoco+", "refcocog"), by picture; `splits` maps a split to its pictures.

    An object is referred to where another of its shape is beside it; every sentence fits it alone.
    """
    split_of = {number: split for split, numbers in splits.items() for number in numbers}
    found: list[dict[str, Any]] = []
    sentence_id = 0
    for number in sorted(split_of):
        scene, split = scenes[number], split_of[number]
        rng = np.random.default_rng([scene.seed, number, _STREAMS[dataset]])
        speaker = Expressions(View(scene))
        shapes = _SHAPES_OF.get(split, SHAPES)
        rows = [row for row in speaker.referred() if scene.objects[row].shape in shapes]
        chosen = rng.permutation(np.array(rows, dtype=int))[:_REFS_A_PICTURE].tolist()
        for row in sorted(chosen):
            texts = _sentences(dataset, speaker, row, rng)
            if texts:
                found.append(_ref(scene, row, split, texts, ref_id=len(found), first_sentence=sentence_id))
                sentence_id += len(texts)
    return found


def pickled(records: Sequence[Mapping[str, Any]]) -> bytes:
    """The bytes of a refs file: the same for equal records, however their strings are shared in memory."""
    return pickle.dumps(json.loads(json.dumps(records)), protocol=2)


def _sentences(dataset: str, speaker: Expressions, row: int, rng: np.random.Generator) -> list[str]:
    """Different sentences about one object; none if it cannot be singled out in this dataset's way."""
    ways: tuple[_Say, ...] = {
        "refcoco": (speaker.by_place, speaker.without_place),
        "refcoco+": (speaker.without_place,),
        "refcocog": (speaker.long,),
    }[dataset]
    wanted = _SENTENCES_A_REF[dataset]
    texts: list[str] = []
    for attempt in range(4 * wanted):
        said = ways[attempt % len(ways)](row, rng)
        if said is not None and said not in texts and len(texts) < wanted:
            texts.append(said)
    return texts


def _ref(
    scene: Scene, row: int, split: str, texts: Sequence[str], *, ref_id: int, first_sentence: int
) -> dict[str, Any]:
    annotation = scene.number * 10 + row + 1  # as in instances.json
    name = picture_name("train2014", scene.number).removesuffix(".jpg")
    return {
        "sent_ids": list(range(first_sentence, first_sentence + len(texts))),
        "file_name": f"{name}_{annotation}.jpg",
        "ann_id": annotation,
        "ref_id": ref_id,
        "image_id": scene.number,
        "split": split,
        "sentences": [
            {"tokens": [word for word in text.split() if word != ","], "raw": text, "sent_id": number, "sent": sent}
            for number, text in enumerate(texts, start=first_sentence)
            for sent in (" ".join(word for word in text.split() if word != ","),)
        ],
        "category_id": _CATEGORY_IDS[scene.objects[row].shape],
    }
