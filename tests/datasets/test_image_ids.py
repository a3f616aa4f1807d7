"""Canonical ids of pictures, and the official lists of pictures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vltool.datasets.id_lists import read_image_ids, read_names
from vltool.datasets.image_ids import image_id_of
from vltool.errors import ConfigError, DataError


@pytest.mark.parametrize(
    ("source", "pattern", "expected"),
    [
        ("COCO_val2014_000000391895.jpg", "coco:{number}", "coco:391895"),
        ("val2014/COCO_val2014_000000391895.jpg", "coco:{number}", "coco:391895"),
        ("000000391895.jpg", "coco:{number}", "coco:391895"),
        (391895, "coco:{number}", "coco:391895"),
        ("1000092795.jpg", "flickr30k:{stem}", "flickr30k:1000092795"),
        ("1000092795", "flickr30k:{stem}", "flickr30k:1000092795"),
        (17, "world:{stem}", "world:17"),
        ("photo.final.JPEG", "file:{stem}", "file:photo.final"),
        ("name with spaces é中.jpg", "file:{stem}", "file:name with spaces é中"),
        ("n578564.jpg", "vg:{number}", "vg:578564"),
    ],
)
def test_names_become_canonical(source: str | int, pattern: str, expected: str) -> None:
    assert image_id_of(source, pattern) == expected


def test_patterns_and_names_that_cannot_be_used() -> None:
    with pytest.raises(ConfigError, match=r"expected \{number\} or \{stem\}"):
        image_id_of("a.jpg", "coco:{id}")
    with pytest.raises(ConfigError, match="image id pattern 'coco'"):
        image_id_of("a.jpg", "coco")
    with pytest.raises(DataError, match="expected a number in it"):
        image_id_of("photo.jpg", "coco:{number}")
    with pytest.raises(DataError, match="expected a file name"):
        image_id_of("folder/", "file:{stem}")
    with pytest.raises(DataError, match="expected a number ≥ 0"):
        image_id_of(-1, "coco:{number}")


@pytest.mark.parametrize(
    ("name", "pattern", "count", "first"),
    [
        ("karpathy/karpathy_test_images.txt", "coco:{number}", 5000, "coco:253964"),
        ("karpathy/karpathy_val_images.txt", "coco:{number}", 5000, "coco:11169"),
        ("flickr30k_entities/splits/train.txt", "flickr30k:{stem}", 29783, None),
        ("flickr30k_entities/splits/val.txt", "flickr30k:{stem}", 1000, None),
        ("flickr30k_entities/splits/test.txt", "flickr30k:{stem}", 1000, "flickr30k:1016887272"),
        ("flickr30k_multi30k/image_splits/train.txt", "flickr30k:{stem}", 29000, None),
        ("flickr30k_multi30k/image_splits/val.txt", "flickr30k:{stem}", 1014, "flickr30k:1018148011"),
        ("flickr30k_multi30k/image_splits/test_2016_flickr.txt", "flickr30k:{stem}", 1000, None),
        ("twelve_in_one/snli_ve/flickr30k_test.lst", "flickr30k:{stem}", 1000, "flickr30k:1016887272"),
    ],
)
def test_official_lists_load_in_full(shared_data: Path, name: str, pattern: str, count: int, first: str | None) -> None:
    found = read_image_ids(shared_data / name, image_id=pattern)
    assert len(found) == len(set(found)) == count
    assert first in (None, found[0])


def test_lists_in_json(tmp_path: Path) -> None:
    path = tmp_path / "image_info_test2015.json"
    path.write_text(json.dumps({"images": [{"id": 7, "file_name": "COCO_test2015_000000000007.jpg"}, {"id": 9}]}))
    assert read_image_ids(path, image_id="coco:{number}") == ["coco:7", "coco:9"]
    path.write_text(json.dumps([3, "b.jpg"]))
    assert read_names(path) == [3, "b.jpg"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("# only remarks\n\n", "found none"),
        ("1.jpg\n1.jpg\n", "'1.jpg' is listed twice"),
        ("1.jpg\n001.jpg\n", "'coco:1' is listed twice"),
        ("photo.jpg\n", "expected a number"),
    ],
)
def test_lists_that_cannot_be_used(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "list.txt"
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        read_image_ids(path, image_id="coco:{number}")
