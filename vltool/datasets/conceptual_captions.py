"""Conceptual Captions, `Train_GCC-training.tsv` and `Validation_GCC-1.1.0-Validation.tsv`: captions and addresses.

    author : a life in photography -- in pictures	https://i.pinimg.com/736x/66/01/6c/66016c3ba27c0e04.jpg

Pictures have no ids of their own: a row's number, from 0, names its picture, as most downloaders name the files.
Format: ai.google.com/research/ConceptualCaptions (Sharma et al. 2018).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from vltool.datasets.checks import shown
from vltool.datasets.id_lists import read_image_ids
from vltool.datasets.image_ids import ImageNamer
from vltool.datasets.records import CaptionRecord
from vltool.datasets.sources import check_files, pick, require
from vltool.datasets.streams import lines
from vltool.errors import DataError

DEFAULT_IMAGE_ID = "cc:{number}"


class CaptionedAddress(NamedTuple):
    """Row `row` of the file, from 0: a caption and where its picture was."""

    row: int
    caption: str
    url: str


def rows(path: Path | str) -> Iterator[CaptionedAddress]:
    """The rows of a file, one at a time. Raises DataError for a line that is not a caption, a tab and an address."""
    for number, line in lines(path):
        parts = line.split("\t")
        if len(parts) != 2 or not all(part.strip() for part in parts):
            raise DataError(f"{path}: line {number}: expected a caption, a tab and an address, found {shown(line)}")
        yield CaptionedAddress(number - 1, parts[0].strip(), parts[1].strip())


def read(*, files: Mapping[str, Path], split: str = "", image_id: str = "") -> list[CaptionRecord]:
    """Every caption, or those of the listed pictures, in the order of the file.

    files: `captions`, and optionally `ids`, a list of the pictures to read: those that could be downloaded. image_id:
    pattern of the pictures' ids (default: cc:{number}); give the validation file one of its own, cc-val:{number}.
    Raises DataError, also for a listed picture that no row has.
    """
    check_files(files, split, known=("captions", "ids"))
    path = require(files, "captions", split)
    pattern = image_id or DEFAULT_IMAGE_ID
    namer = ImageNamer(pattern)
    ids_at = pick(files, "ids", split)
    wanted = None if ids_at is None else set(read_image_ids(ids_at, image_id=pattern))
    records = []
    for row in rows(path):
        name = namer(row.row)
        if wanted is None or name in wanted:
            records.append(CaptionRecord(str(row.row), name, row.caption))
    missing = sorted((wanted or set()) - {record.image_id for record in records})
    if missing:
        raise DataError(f"{ids_at}: {len(missing)} of its pictures are no row of {path}, first {missing[0]!r}")
    return records
