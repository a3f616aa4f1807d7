"""One name for one picture, whatever a dataset calls it.

    COCO_val2014_000000391895.jpg, 000000391895.jpg, 391895   coco:391895
    1000092795.jpg                                             flickr30k:1000092795
    2415125.jpg of Visual Genome, GQA or Visual7W              vg:2415125, or coco:… where image_data.json says so
    n578564.jpg of GQA, which are not Visual Genome's          gqa:n578564
    dev-850-0-img1.png of NLVR2                                nlvr2:dev-850-0-img1
    row 17 of Conceptual Captions                              cc:17
    holiday photo.jpg                                          file:holiday photo

Half of Visual Genome's pictures are COCO's: the same picture must not be trained on under one name and tested under
the other. `image_data.json` of Visual Genome lists them:

    {"image_id": 2, "coco_id": null, "flickr_id": null, "width": 800, "height": 600, "url": …}
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from vltool.datasets.image_ids import image_id_of
from vltool.datasets.visual_genome import read_pictures
from vltool.errors import DataError
from vltool.structures import ImageId

PATTERNS = {
    "coco": "coco:{number}",
    "flickr30k": "flickr30k:{stem}",
    "flickr8k": "flickr8k:{stem}",
    "vg": "vg:{number}",
    "gqa": "gqa:{stem}",
    "nlvr2": "nlvr2:{stem}",
    "cc": "cc:{number}",
    "world": "world:{number}",
    "file": "file:{stem}",
}
"""How each dataset names its pictures."""


def canonical_id(source: str | int, dataset: str, *, aliases: Mapping[ImageId, ImageId] | None = None) -> ImageId:
    """The canonical id of `source` (path, file name or number) in `dataset`, after `aliases`. Raises DataError."""
    if dataset not in PATTERNS:
        raise DataError(f"unknown dataset of pictures {dataset!r}; known: {', '.join(sorted(PATTERNS))}")
    found = image_id_of(source, PATTERNS[dataset])
    return (aliases or {}).get(found, found)


def visual_genome_aliases(path: Path | str) -> dict[ImageId, ImageId]:
    """vg:… → coco:… for the pictures that Visual Genome took from COCO, from its image_data.json. Raises DataError."""
    return {
        canonical_id(number, "vg"): canonical_id(picture.coco_id, "coco")
        for number, picture in read_pictures(path).items()
        if picture.coco_id is not None
    }
