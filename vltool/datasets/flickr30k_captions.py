"""Flickr30k's captions, five a picture: `results_20130124.token`, 158,915 lines about 31,783 pictures.

    1000092795.jpg#0	Two young guys with shaggy hair look at their hands while hanging out in the yard .

Format: the readme.txt that comes with Flickr30k (Young et al. 2014). The split is that of a list beside it: Flickr30k
Entities' train.txt, val.txt and test.txt (29,783, 1,000 and 1,000 pictures) or any other list of pictures.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from vltool.datasets.checks import Place, shown
from vltool.datasets.id_lists import read_image_ids
from vltool.datasets.image_ids import ImageNamer
from vltool.datasets.records import CaptionRecord
from vltool.datasets.sources import check_files, pick, read_text, require
from vltool.errors import DataError

DEFAULT_IMAGE_ID = "flickr30k:{stem}"


def read(*, files: Mapping[str, Path], split: str = "", image_id: str = "") -> list[CaptionRecord]:
    """The captions of the listed pictures, or of all, in the order of the file.

    files: `captions`, and optionally `ids`, a list of the pictures to read (either may be named for a split:
    `val_ids`). image_id: pattern of the pictures' ids (default: flickr30k:{stem}). Raises DataError, also for a listed
    picture without captions.
    """
    check_files(files, split, known=("captions", "ids"))
    path = require(files, "captions", split)
    pattern = image_id or DEFAULT_IMAGE_ID
    namer = ImageNamer(pattern)
    ids_at = pick(files, "ids", split)
    wanted = None if ids_at is None else set(read_image_ids(ids_at, image_id=pattern))
    records = []
    seen: set[str] = set()
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        record = _caption(line, Place(path, "line", number), namer)
        if record.caption_id in seen:
            raise DataError(f"{path}: line {number}: caption {shown(record.caption_id)} stands there twice")
        seen.add(record.caption_id)
        if wanted is None or record.image_id in wanted:
            records.append(record)
    missing = sorted((wanted or set()) - {record.image_id for record in records})
    if missing:
        raise DataError(f"{ids_at}: {len(missing)} of its pictures have no caption in {path}, first {missing[0]!r}")
    return records


def _caption(line: str, place: Place, namer: ImageNamer) -> CaptionRecord:
    name, tab, text = line.partition("\t")
    picture, sign, number = name.rpartition("#")
    if not tab or not sign or not number.isdigit() or not text.strip():
        raise DataError(
            f"{place.path}: line {place.number}: expected a picture, # and a number, a tab and a caption, as in "
            f"1000092795.jpg#0, found {shown(line)}"
        )
    return CaptionRecord(name, namer(picture, place), text.strip())
