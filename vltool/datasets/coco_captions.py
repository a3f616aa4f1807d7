"""COCO captions: `captions_{train,val}{2014,2017}.json`, five or more captions a picture.

    "images":      {"id": 391895, "file_name": "COCO_val2014_000000391895.jpg", "height": 360, "width": 640, …}
    "annotations": {"image_id": 391895, "id": 770337, "caption": "A man with a red helmet on a small moped …"}

Format: cocodataset.org, "Data format", section 4 (captions).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from vltool.datasets import checks
from vltool.datasets.checks import Place
from vltool.datasets.coco_images import DEFAULT_IMAGE_ID, CocoImage, read_images, restrict
from vltool.datasets.records import CaptionRecord
from vltool.datasets.sources import check_files, read_json, require


def read(*, files: Mapping[str, Path], split: str = "", image_id: str = "") -> list[CaptionRecord]:
    """Every caption, in the order of the file.

    files: `captions`, and optionally `ids`, a list of the pictures to read (either may be named for a split:
    `val_ids`). image_id: pattern of the pictures' ids (default: coco:{number}). Raises DataError.
    """
    check_files(files, split, known=("captions", "ids"))
    path = require(files, "captions", split)
    content = checks.record(read_json(path), Place(path))
    images = read_images(content, path, image_id=image_id or DEFAULT_IMAGE_ID)
    wanted = restrict(images, files, split)
    records = []
    seen: set[int] = set()
    for index, value in enumerate(checks.list_of(content, "annotations", Place(path))):
        record = _caption(value, Place(path, "annotations", index), images, seen)
        if wanted is None or record.image_id in wanted:
            records.append(record)
    return records


def _caption(value: object, place: Place, images: Mapping[int, CocoImage], seen: set[int]) -> CaptionRecord:
    fields = checks.record(value, place)
    caption_id = checks.whole(fields, "id", place)
    if caption_id in seen:
        place.fail("id", "an id of its own (another caption has it)", caption_id)
    seen.add(caption_id)
    number = checks.whole(fields, "image_id", place)
    if number not in images:
        place.fail("image_id", "the id of a picture in 'images'", number)
    return CaptionRecord(str(caption_id), images[number].image_id, checks.text(fields, "caption", place))
