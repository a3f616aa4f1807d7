"""Visual Genome's pictures, half of which are COCO's, and the names of its pictures in datasets built upon it.

    image_data.json: [{"image_id": 2415126, "coco_id": 549168, "flickr_id": 5206, "width": 500, "height": 375, …}, …]

GQA, Visual7W and Visual Genome's own questions call a picture by Visual Genome's number. The same picture may be COCO's
under another number: with image_data.json it gets the one id `coco:549168`, without it stays `vg:2415126`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from vltool.datasets import checks
from vltool.datasets.checks import Place
from vltool.datasets.image_ids import ImageNamer, image_id_of
from vltool.datasets.sources import pick
from vltool.datasets.streams import list_members
from vltool.structures import ImageId

VG_IMAGE_ID = "vg:{number}"
COCO_IMAGE_ID = "coco:{number}"


class VisualGenomePicture(NamedTuple):
    """coco_id: its number in COCO, None where it is not there. Sizes in pixels of Visual Genome's own file."""

    coco_id: int | None
    height: int
    width: int


def read_pictures(path: Path | str) -> dict[int, VisualGenomePicture]:
    """The pictures of image_data.json by their number. Raises DataError."""
    found: dict[int, VisualGenomePicture] = {}
    for index, value in list_members(path, what="pictures"):
        place = Place(path, "images", index)
        fields = checks.record(value, place)
        number = checks.whole(fields, "image_id", place)
        if number in found:
            place.fail("image_id", "an id of its own (another picture has it)", number)
        if "coco_id" not in fields:
            place.fail("coco_id", "a COCO picture's number, or null", checks.MISSING)
        coco = None if fields["coco_id"] is None else checks.whole(fields, "coco_id", place)
        height, width = (
            checks.whole(fields, side, place, least=1) if side in fields else 0 for side in ("height", "width")
        )
        found[number] = VisualGenomePicture(coco, height, width)
    return found


class VisualGenomeNames:
    """Canonical ids and sizes of pictures called by Visual Genome's numbers.

    files: with `images` (image_data.json), a picture of COCO gets its coco: id. image_id: pattern of the others
    (default: vg:{number}); under another pattern than that there are no aliases.
    """

    def __init__(self, files: Mapping[str, Path], split: str, image_id: str):
        self._namer = ImageNamer(image_id or VG_IMAGE_ID)
        path = pick(files, "images", split)
        self._pictures = {} if path is None else read_pictures(path)
        self._has_aliases = self._namer.pattern == VG_IMAGE_ID

    def __call__(self, number: int, place: object = "") -> ImageId:
        picture = self._pictures.get(number)
        if self._has_aliases and picture is not None and picture.coco_id is not None:
            return image_id_of(picture.coco_id, COCO_IMAGE_ID)
        return self._namer(number, place)

    def size(self, number: int) -> tuple[int, int]:
        """(height, width) in pixels of Visual Genome's file; zeros where image_data.json is not given or silent."""
        picture = self._pictures.get(number)
        return (0, 0) if picture is None else (picture.height, picture.width)
