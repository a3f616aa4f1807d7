"""Visual7W, the questions that are answered by pointing: `dataset_v7w_pointing.json`.

    {"boxes":  [{"box_id": 2611, "name": "man", "x": 131, "y": 20, "width": 88, "height": 172}, …],
     "images": [{"image_id": 2415126, "filename": "v7w_2415126.jpg", "split": "train", "qa_pairs": [
        {"qa_id": 186, "question": "Which man …?", "type": "which", "answer": 2611,
         "multiple_choices": [2612, 2613, 2614]}, …]}, …], …}

The right box is `answer`, the three wrong ones are `multiple_choices`. Pictures have Visual Genome's numbers, and
boxes are in pixels of its files. Format: yukezhu/visual7w-toolkit, common/data_provider.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from sys import intern
from typing import Any

from vltool.datasets import checks
from vltool.datasets.checks import Place
from vltool.datasets.records import PointingRecord
from vltool.datasets.sources import check_files, read_json, require
from vltool.datasets.visual_genome import VisualGenomeNames
from vltool.errors import DataError

SPLITS = ("train", "val", "test")
Box = tuple[float, float, float, float]


def read(*, files: Mapping[str, Path], split: str = "", image_id: str = "") -> list[PointingRecord]:
    """The questions of a split, in the order of the file; their type is their kind.

    files: `dataset`, and optionally `images` (Visual Genome's image_data.json: sizes, and which pictures are COCO's).
    split: train, val, test, a sum of them, or "" for all. boxes: those that any question of the picture may be
    answered with, in the order of their numbers, and so are the candidates: their order tells nothing of the answer.
    image_id: see VisualGenomeNames. Raises DataError.
    """
    check_files(files, "", known=("dataset", "images"))
    path = require(files, "dataset")
    names = VisualGenomeNames(files, "", image_id)
    wanted = split.split("+") if split else list(SPLITS)
    for part in wanted:
        if part not in SPLITS:
            raise DataError(f"{path}: no split {part!r}; choose of {', '.join(SPLITS)} or a sum such as train+val")
    content = checks.record(read_json(path), Place(path))
    boxes = _read_boxes(content, path)
    records: list[PointingRecord] = []
    pictures: set[int] = set()
    questions: set[int] = set()
    for index, value in enumerate(checks.list_of(content, "images", Place(path))):
        place = Place(path, "images", index)
        fields = checks.record(value, place)
        number = checks.whole(fields, "image_id", place)
        if number in pictures:
            place.fail("image_id", "an id of its own (another picture has it)", number)
        pictures.add(number)
        if checks.text(fields, "split", place) not in SPLITS:
            place.fail("split", f"one of {', '.join(SPLITS)}", fields["split"])
        found = _picture(fields, place, names, boxes, questions)
        if fields["split"] in wanted:
            records += found
    return records


def _read_boxes(content: Mapping[str, Any], path: Path) -> dict[int, Box]:
    found: dict[int, Box] = {}
    for index, value in enumerate(checks.list_of(content, "boxes", Place(path))):
        place = Place(path, "boxes", index)
        fields = checks.record(value, place)
        number = checks.whole(fields, "box_id", place)
        if number in found:
            place.fail("box_id", "an id of its own (another box has it)", number)
        sides = {"bbox": [fields.get(side) for side in ("x", "y", "width", "height")]}
        found[number] = checks.box_xywh(sides, "bbox", place)
    return found


def _picture(
    fields: Mapping[str, Any], place: Place, names: VisualGenomeNames, boxes: Mapping[int, Box], seen: set[int]
) -> list[PointingRecord]:
    asked = []
    for index, value in enumerate(checks.list_of(fields, "qa_pairs", place)):
        inner = Place(place.path, f"images[{place.number}].qa_pairs", index)
        pair = checks.record(value, inner)
        number = checks.whole(pair, "qa_id", inner)
        if number in seen:
            inner.fail("qa_id", "an id of its own (another question has it)", number)
        seen.add(number)
        choices = (checks.whole(pair, "answer", inner), *checks.list_of(pair, "multiple_choices", inner))
        if (
            len(choices) < 2
            or any(type(c) is not int or c not in boxes for c in choices)
            or len(set(choices)) < len(choices)
        ):
            inner.fail("multiple_choices", "boxes of the file, each once and none of them the answer", choices)
        kind = intern(checks.text(pair, "type", inner)) if "type" in pair else ""
        asked.append((number, checks.text(pair, "question", inner), kind, choices))
    ids = tuple(sorted({choice for *_, choices in asked for choice in choices}))
    places = {box_id: place for place, box_id in enumerate(ids)}
    given = tuple(boxes[box_id] for box_id in ids)
    number = fields["image_id"]
    name = names(number, place)
    height, width = names.size(number)
    return [
        PointingRecord(
            record_id=str(question_id),
            image_id=name,
            text=question,
            boxes=given,
            box_ids=ids,
            candidates=tuple(sorted(places[choice] for choice in choices)),
            answer=places[choices[0]],
            height=height,
            width=width,
            kind=kind,
        )
        for question_id, question, kind, choices in asked
    ]
