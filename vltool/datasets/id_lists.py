"""Lists of pictures: the official split lists, and files that list pictures without annotations.

One picture a line, as a number, a file name, or a file name followed by its number; `#` starts a remark:

    val2014/COCO_val2014_000000253964.jpg 253964     Karpathy test images of peteanderson80/bottom-up-attention,
                                                     data/genome/coco_splits at 514e561b
    1016887272                                       test.txt of BryanPlummer/flickr30k_entities at 68b3d6f1
    1018148011.jpg                                   image_splits/val.txt of multi30k/dataset at a3d2e0d2

or JSON: COCO's `image_info_test2015.json` and any other file with an "images" list, or a plain list.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vltool.datasets import checks
from vltool.datasets.checks import Place
from vltool.datasets.image_ids import ImageNamer
from vltool.datasets.sources import read_json, read_text
from vltool.errors import DataError
from vltool.structures import ImageId


def read_names(path: Path | str) -> list[str | int]:
    """What a list calls its pictures, in order. Raises DataError for an empty list or a picture named twice."""
    member = str(path).lower()
    names = _json_names(path) if member.endswith((".json", ".json.zip", ".json.gz")) else _text_names(path)
    if not names:
        raise DataError(f"{path}: expected a list of pictures, found none")
    _refuse_twice(names, path)
    return names


def read_image_ids(path: Path | str, *, image_id: str) -> list[ImageId]:
    """The canonical ids of a list's pictures, in order. image_id: their pattern. Raises DataError."""
    namer = ImageNamer(image_id)
    ids = [namer(name, path) for name in read_names(path)]
    _refuse_twice(ids, path)
    return ids


def _refuse_twice(names: Sequence[str | int], path: Path | str) -> None:
    seen = set()
    for name in names:
        if name in seen:
            raise DataError(f"{path}: picture {checks.shown(name)} is listed twice")
        seen.add(name)


def _text_names(path: Path | str) -> list[str | int]:
    lines = (line.partition("#")[0].split() for line in read_text(path).split("\n"))
    return [words[0] for words in lines if words]


def _json_names(path: Path | str) -> list[str | int]:
    content: Any = read_json(path)
    if isinstance(content, dict):
        content = checks.list_of(content, "images", Place(path))
    if not isinstance(content, list):
        raise DataError(f"{path}: expected a list of pictures or an object with 'images'")
    return [_json_name(value, Place(path, "images", index)) for index, value in enumerate(content)]


def _json_name(value: Any, place: Place) -> str | int:
    if isinstance(value, dict):
        for field in ("file_name", "filename"):
            if field in value:
                return checks.text(value, field, place)
        return checks.whole(value, "id", place)
    if isinstance(value, str):
        return checks.text({"name": value}, "name", place)
    return checks.whole({"number": value}, "number", place)
