"""GuessWhat?!: dialogues in which one player finds out which thing of a COCO picture the other one means.

A game a line, `guesswhat.train.jsonl.gz`, in either of the two layouts that are about:

    {"dialogue_id": 2400, "picture_id": 489989, "picture": {"file_name": …, "height": 427, "width": 640, …},
     "qas": [{"id": 4967, "q": "Is it a person?", "a": "Yes"}, …], "object_id": 1719310, "status": "success",
     "objects": {"1719310": {"category": "person", "category_id": 1, "bbox": [103.93, 299.99, 134.22, 177.42], …}, …}}
    {"id": 2400, "image": {"id": 489989, "height": …}, "qas": [{"id": …, "question": …, "answer": "Yes"}],
     "object_id": 1719310, "status": "success", "objects": [{"id": 1719310, "bbox": […], "category": …}, …]}

Format: GuessWhatGame/guesswhat, src/guesswhat/data_provider/guesswhat_dataset.py (first), and
vilbert/datasets/guesswhat_pointing_dataset.py of facebookresearch/vilbert-multi-task at f22b84a (second).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from sys import intern
from typing import Any

from vltool.datasets import checks
from vltool.datasets.checks import Place
from vltool.datasets.image_ids import ImageNamer
from vltool.datasets.records import PointingRecord
from vltool.datasets.sources import check_files, require
from vltool.datasets.streams import json_lines

DEFAULT_IMAGE_ID = "coco:{number}"
STATUSES = ("success", "failure", "incomplete")
ANSWERS = ("Yes", "No", "N/A")


def read(*, files: Mapping[str, Path], split: str = "", image_id: str = "") -> list[PointingRecord]:
    """The games, in the order of the file; kind is how the game ended (success, failure, incomplete).

    files: `games`, or one file a split (`train_games`, `valid_games`: `split: valid`). text: questions and answers in
    turn (Is it a person? Yes.), empty where no question was asked. boxes: the things of the game in the order of their
    numbers, all of them candidates. image_id: pattern of the pictures' ids (default: coco:{number}). Raises DataError.
    """
    check_files(files, split, known=("games",))
    path = require(files, "games", split)
    namer = ImageNamer(image_id or DEFAULT_IMAGE_ID)
    records = []
    seen: set[int] = set()
    for number, value in json_lines(path):
        place = Place(path, "line", number)
        fields = checks.record(value, place)
        own = "dialogue_id" if "dialogue_id" in fields else "id"
        game = checks.whole(fields, own, place)
        if game in seen:
            place.fail(own, "an id of its own (another game has it)", game)
        seen.add(game)
        records.append(_game(str(game), fields, place, namer))
    return records


def _game(game: str, fields: Mapping[str, Any], place: Place, namer: ImageNamer) -> PointingRecord:
    picture = checks.record(fields.get("picture", fields.get("image")), place)
    number = checks.whole({"picture_id": picture.get("id", checks.MISSING), **fields}, "picture_id", place)
    height, width = (checks.whole(picture, side, place, least=1) for side in ("height", "width"))
    if fields.get("status") not in STATUSES:
        place.fail("status", f"one of {', '.join(STATUSES)}", fields.get("status", checks.MISSING))
    boxes = dict(sorted(_boxes(fields, place, height=height, width=width)))
    answer = checks.whole(fields, "object_id", place)
    if answer not in boxes:
        place.fail("object_id", "one of the game's objects", answer)
    turns = tuple(_turns(fields, place))
    return PointingRecord(
        record_id=game,
        image_id=namer(number),
        text=" ".join(f"{question} {said}." for question, said in turns),
        boxes=tuple(boxes.values()),
        box_ids=tuple(boxes),
        candidates=tuple(range(len(boxes))),
        answer=list(boxes).index(answer),
        height=height,
        width=width,
        kind=intern(fields["status"]),
        turns=turns,
    )


def _boxes(
    fields: Mapping[str, Any], place: Place, *, height: int, width: int
) -> Iterator[tuple[int, tuple[float, float, float, float]]]:
    objects = fields.get("objects", checks.MISSING)
    if isinstance(objects, dict):
        objects = [{**checks.record(value, place), "id": number} for number, value in objects.items()]
    if not isinstance(objects, list) or not objects:
        place.fail("objects", "the things of the picture", objects)
    seen = set()
    for index, value in enumerate(objects):
        inner = Place(place.path, f"line[{place.number}].objects", index)
        thing = checks.record(value, inner)
        number = thing.get("id", checks.MISSING)
        if isinstance(number, str) and number.isascii() and number.isdigit() and len(number) <= 18:
            number = int(number)
        if type(number) is not int or number < 0 or number in seen:
            inner.fail("id", "the number of an annotation, each once", number)
        seen.add(number)
        box = checks.box_xywh(thing, "bbox", inner)
        if not checks.touches(box, height=height, width=width):
            inner.fail("bbox", f"a box in the picture of {width} x {height}", thing["bbox"])
        yield number, box


def _turns(fields: Mapping[str, Any], place: Place) -> Iterator[tuple[str, str]]:
    """Each question and its answer: Is it a person?, Yes."""
    for index, value in enumerate(checks.list_of(fields, "qas", place)):
        inner = Place(place.path, f"line[{place.number}].qas", index)
        pair = checks.record(value, inner)
        question, answer = ("question", "answer") if "question" in pair else ("q", "a")
        if pair.get(answer) not in ANSWERS:
            inner.fail(answer, f"one of {', '.join(ANSWERS)}", pair.get(answer, checks.MISSING))
        yield checks.text(pair, question, inner).strip(), intern(pair[answer])
