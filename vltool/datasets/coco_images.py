"""The "images" list that opens every COCO file, and the choice of some of its pictures.

{"license": 3, "file_name": "000000217285.jpg", "height": 427, "width": 640, "id": 217285, …}
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from vltool.datasets import checks
from vltool.datasets.checks import Place
from vltool.datasets.id_lists import read_image_ids
from vltool.datasets.image_ids import ImageNamer
from vltool.datasets.sources import pick
from vltool.errors import DataError
from vltool.structures import ImageId

DEFAULT_IMAGE_ID = "coco:{number}"


class CocoImage(NamedTuple):
    """One picture: its canonical id, its size in pixels, and the pattern that named it."""

    image_id: ImageId
    height: int
    width: int
    pattern: str


def read_images(content: Mapping[str, Any], path: Path, *, image_id: str) -> dict[int, CocoImage]:
    """The pictures of a COCO file by their number. Raises DataError for wrong fields and repeated numbers."""
    namer = ImageNamer(image_id)
    images: dict[int, CocoImage] = {}
    named: set[ImageId] = set()
    for index, value in enumerate(checks.list_of(content, "images", Place(path))):
        place = Place(path, "images", index)
        fields = checks.record(value, place)
        number = checks.whole(fields, "id", place)
        if number in images:
            place.fail("id", "an id of its own (another picture has it)", number)
        source = checks.text(fields, "file_name", place) if namer.uses_stem else number
        height, width = (checks.whole(fields, side, place, least=1) for side in ("height", "width"))
        name = namer(source, f"{place}.file_name")
        if name in named:
            place.fail("file_name", f"a picture of its own (another is {name!r} by {image_id!r})", source)
        named.add(name)
        images[number] = CocoImage(name, height, width, image_id)
    return images


def restrict(images: Mapping[int, CocoImage], files: Mapping[str, Path], split: str) -> set[ImageId] | None:
    """The pictures of the list `ids`, if there is one. Raises DataError if it names pictures that are not here."""
    path = pick(files, "ids", split)
    if path is None:
        return None
    here = {image.image_id: image for image in images.values()}
    pattern = next(iter(here.values())).pattern if here else DEFAULT_IMAGE_ID
    wanted = read_image_ids(path, image_id=pattern)
    missing = [image_id for image_id in wanted if image_id not in here]
    if missing:
        raise DataError(
            f"{path}: {len(missing)} of its {len(wanted)} pictures are not in the annotation file, first {missing[0]!r}"
        )
    return set(wanted)
