"""One name for one picture."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vltool.errors import DataError
from vltool.splits.identity import canonical_id, visual_genome_aliases


@pytest.mark.parametrize(
    ("source", "dataset", "expected"),
    [
        ("COCO_val2014_000000391895.jpg", "coco", "coco:391895"),
        ("000000391895.jpg", "coco", "coco:391895"),
        (391895, "coco", "coco:391895"),
        ("flickr30k-images/1000092795.jpg", "flickr30k", "flickr30k:1000092795"),
        (1000092795, "flickr30k", "flickr30k:1000092795"),
        ("VG_100K_2/2415125.jpg", "vg", "vg:2415125"),
        ("my photo.png", "file", "file:my photo"),
    ],
)
def test_canonical_ids(source: str | int, dataset: str, expected: str) -> None:
    assert canonical_id(source, dataset) == expected


def test_a_visual_genome_picture_of_coco_has_its_coco_name(tmp_path: Path) -> None:
    path = tmp_path / "image_data.json"
    path.write_text(json.dumps([{"image_id": 1, "coco_id": None}, {"image_id": 2, "coco_id": 391895}]))
    aliases = visual_genome_aliases(path)
    assert aliases == {"vg:2": "coco:391895"}
    assert canonical_id("2.jpg", "vg", aliases=aliases) == canonical_id("COCO_val2014_000000391895.jpg", "coco")
    assert canonical_id(1, "vg", aliases=aliases) == "vg:1"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "expected a list of pictures"),
        ([{"image_id": 1}], r"images\[0\]\.coco_id: expected a COCO picture's number, or null, found nothing"),
        ([{"image_id": 1, "coco_id": "7"}], r"images\[0\]\.coco_id: expected a whole number"),
        ([{"image_id": 1, "coco_id": None}] * 2, r"images\[1\]\.image_id: expected an id of its own"),
    ],
)
def test_image_data_that_cannot_be_used(tmp_path: Path, content: object, message: str) -> None:
    (tmp_path / "image_data.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=message):
        visual_genome_aliases(tmp_path / "image_data.json")


def test_the_official_sample_loads(shared_data: Path) -> None:
    path = shared_data / "twelve_in_one" / "visual_genome" / "image_data.json"
    pictures = json.loads(path.read_text())
    aliases = visual_genome_aliases(path)
    assert len(pictures) == 69
    assert len(aliases) == sum(picture["coco_id"] is not None for picture in pictures)


def test_unknown_datasets_are_named() -> None:
    with pytest.raises(DataError, match="unknown dataset of pictures 'imagenet'; known: cc, coco, file"):
        canonical_id(1, "imagenet")
