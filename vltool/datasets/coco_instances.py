"""COCO instances: `instances_{train,val}{2014,2017}.json`, the boxes and classes of the things in a picture.

    "categories":  {"supercategory": "person", "id": 1, "name": "person"}
    "annotations": {"id": 87864, "image_id": 530836, "category_id": 44, "iscrowd": 0,
                    "bbox": [341.01, 279.53, 17.77, 35.92], "area": 538.363…, "segmentation": …}

`bbox` is x, y, width, height; a few official boxes have a side of 0. Format: cocodataset.org, "Data format", section 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vltool.datasets import checks
from vltool.datasets.checks import Place
from vltool.datasets.coco_images import DEFAULT_IMAGE_ID, CocoImage, read_images, restrict
from vltool.datasets.records import ObjectRecord
from vltool.datasets.sources import check_files, read_json, require


def read(*, files: Mapping[str, Path], split: str = "", image_id: str = "") -> list[ObjectRecord]:
    """Every annotated object, in the order of the file; boxes x1 y1 x2 y2.

    files: `instances`, and optionally `ids`, a list of the pictures to read. Raises DataError.
    """
    check_files(files, split, known=("instances", "ids"))
    path = require(files, "instances", split)
    content = checks.record(read_json(path), Place(path))
    images = read_images(content, path, image_id=image_id or DEFAULT_IMAGE_ID)
    classes = _read_classes(content, path)
    wanted = restrict(images, files, split)
    records = []
    seen: set[int] = set()
    for index, value in enumerate(checks.list_of(content, "annotations", Place(path))):
        place = Place(path, "annotations", index)
        record = _object(checks.record(value, place), place, images, classes)
        if record.object_id in seen:
            place.fail("id", "an id of its own (another object has it)", record.object_id)
        seen.add(record.object_id)
        if wanted is None or record.image_id in wanted:
            records.append(record)
    return records


def _read_classes(content: Mapping[str, Any], path: Path) -> dict[int, str]:
    classes: dict[int, str] = {}
    for index, value in enumerate(checks.list_of(content, "categories", Place(path))):
        place = Place(path, "categories", index)
        fields = checks.record(value, place)
        number = checks.whole(fields, "id", place)
        if number in classes:
            place.fail("id", "an id of its own (another class has it)", number)
        classes[number] = checks.text(fields, "name", place)
    return classes


def _object(
    fields: Mapping[str, Any], place: Place, images: Mapping[int, CocoImage], classes: Mapping[int, str]
) -> ObjectRecord:
    number = checks.whole(fields, "image_id", place)
    if number not in images:
        place.fail("image_id", "the id of a picture in 'images'", number)
    category = checks.whole(fields, "category_id", place)
    if category not in classes:
        place.fail("category_id", "the id of a class in 'categories'", category)
    crowd = fields.get("iscrowd", 0)
    if crowd not in (0, 1):
        place.fail("iscrowd", "0 or 1", crowd)
    image = images[number]
    box = checks.box_xywh(fields, "bbox", place)
    if not checks.touches(box, height=image.height, width=image.width):
        place.fail("bbox", f"a box in the picture of {image.width} x {image.height}", fields["bbox"])
    return ObjectRecord(
        object_id=checks.whole(fields, "id", place),
        image_id=image.image_id,
        class_name=classes[category],
        box=box,
        height=image.height,
        width=image.width,
        is_crowd=bool(crowd),
    )
