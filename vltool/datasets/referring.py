"""RefCOCO, RefCOCO+ and RefCOCOg: expressions that refer to one of the things in a COCO picture.

    refs(unc).p      a pickled list: {"ref_id": 0, "ann_id": 1719310, "image_id": 581857, "split": "train",
                       "category_id": 1, "file_name": "COCO_train2014_000000581857_16.jpg", "sent_ids": [0, 1, 2],
                       "sentences": [{"sent_id": 0, "sent": "the lady with the blue shirt",
                                      "raw": "THE LADY WITH THE BLUE SHIRT", "tokens": ["the", "lady", …]}, …]}
    instances.json   COCO's instances of the pictures: the boxes that may be meant

Format: lichengunc/refer, refer.py at 2fe1dfef. Splits: unc of RefCOCO and RefCOCO+ train, val, testA (people), testB
(other things); umd of RefCOCOg train, val, test; google train, val. The pickle is read without running anything in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from vltool import plain_pickle
from vltool.datasets import checks, coco_instances
from vltool.datasets.checks import Place
from vltool.datasets.coco_images import DEFAULT_IMAGE_ID, CocoImage, read_images
from vltool.datasets.records import ObjectRecord, PointingRecord
from vltool.datasets.sources import check_files, read_bytes, read_json, require
from vltool.errors import DataError
from vltool.structures import ImageId


def read(*, files: Mapping[str, Path], split: str = "", image_id: str = "") -> list[PointingRecord]:
    """The expressions of a split, in the order of the file, each a record of its own; kind is the split.

    files: `refs` and `instances`. split: one of those in the file, a sum of them (`testA+testB`), or "" for all.
    boxes: every annotated thing of the picture, all of them candidates. image_id: as COCO's. Raises DataError.
    """
    check_files(files, "", known=("refs", "instances"))
    path = require(files, "refs")
    refs = _load(path)
    annotated = _Annotated.read(require(files, "instances"), image_id)
    splits = {checks.text(fields, "split", place): None for fields, place in _placed(refs, path)}
    wanted = split.split("+") if split else list(splits)
    for part in wanted:
        if part not in splits:
            raise DataError(f"{path}: no split {part!r}; there are {', '.join(sorted(splits))}")
    records: list[PointingRecord] = []
    seen: set[int] = set()
    for fields, place in _placed(refs, path):
        found = list(_expressions(fields, place, annotated, seen))
        if fields["split"] in wanted:
            records += found
    return records


def _load(path: Path) -> list[Any]:
    try:
        content = plain_pickle.loads(read_bytes(path))
    except DataError as error:
        raise error if str(path) in str(error) else DataError(f"{path}: {error}") from None
    if not isinstance(content, list):
        raise DataError(f"{path}: expected a pickled list of references, found {checks.shown(content)}")
    return content


def _placed(refs: list[Any], path: Path) -> Iterator[tuple[Mapping[str, Any], Place]]:
    for index, value in enumerate(refs):
        place = Place(path, "refs", index)
        yield checks.record(value, place), place


class _Annotated(NamedTuple):
    """images and things: by their numbers. pictures: the things of each picture in the order of their numbers."""

    path: Path
    images: Mapping[int, CocoImage]
    things: Mapping[int, ObjectRecord]
    pictures: Mapping[ImageId, list[ObjectRecord]]

    @classmethod
    def read(cls, path: Path, image_id: str) -> _Annotated:
        content = checks.record(read_json(path), Place(path))
        images = read_images(content, path, image_id=image_id or DEFAULT_IMAGE_ID)
        found = coco_instances.read(files={"instances": path}, image_id=image_id)
        things = {thing.object_id: thing for thing in sorted(found, key=lambda thing: thing.object_id)}
        pictures: dict[ImageId, list[ObjectRecord]] = {}
        for thing in things.values():
            pictures.setdefault(thing.image_id, []).append(thing)
        return cls(path, images, things, pictures)


def _expressions(
    fields: Mapping[str, Any], place: Place, annotated: _Annotated, seen: set[int]
) -> Iterator[PointingRecord]:
    number, thing, image = (checks.whole(fields, field, place) for field in ("ref_id", "ann_id", "image_id"))
    if thing not in annotated.things:
        place.fail("ann_id", f"a thing that {annotated.path} annotates", thing)
    own = annotated.things[thing]
    if image not in annotated.images or annotated.images[image].image_id != own.image_id:
        place.fail("image_id", f"the picture of its thing in {annotated.path}, {own.image_id!r}", image)
    here = annotated.pictures[own.image_id]
    boxes, ids = tuple(other.box for other in here), tuple(other.object_id for other in here)
    for index, value in enumerate(checks.list_of(fields, "sentences", place)):
        inner = Place(place.path, f"{place}.sentences".removeprefix(f"{place.path}: "), index)
        sentence = checks.record(value, inner)
        sentence_number = checks.whole(sentence, "sent_id", inner)
        if sentence_number in seen:
            inner.fail("sent_id", "an id of its own (another expression has it)", sentence_number)
        seen.add(sentence_number)
        yield PointingRecord(
            record_id=f"{number}-{sentence_number}",
            image_id=own.image_id,
            text=checks.text(sentence, "raw", inner),
            boxes=boxes,
            box_ids=ids,
            candidates=tuple(range(len(here))),
            answer=ids.index(thing),
            height=own.height,
            width=own.width,
            kind=fields["split"],
        )
