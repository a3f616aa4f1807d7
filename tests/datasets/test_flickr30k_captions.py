"""Flickr30k's own captions, and what official files say of themselves."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from vltool.datasets.flickr30k_captions import read
from vltool.datasets.official import published_of
from vltool.datasets.sources import keeping_json, read_json
from vltool.errors import DataError

LINES = (
    "1000092795.jpg#0\tTwo young guys with shaggy hair look at their hands .\n"
    "1000092795.jpg#1\tTwo friends enjoy time spent together .\n"
    "10002456.jpg#0\tSeveral men in hard hats are operating a giant pulley system .\n"
)


def test_captions_are_read_with_their_pictures_and_a_list_chooses(tmp_path: Path) -> None:
    (tmp_path / "results.token").write_text(LINES)
    (tmp_path / "val.txt").write_text("10002456\n")
    everything = read(files={"captions": tmp_path / "results.token"})
    assert [record.image_id for record in everything] == ["flickr30k:1000092795"] * 2 + ["flickr30k:10002456"]
    assert everything[1].text == "Two friends enjoy time spent together ."
    (chosen,) = read(files={"captions": tmp_path / "results.token", "val_ids": tmp_path / "val.txt"}, split="val")
    assert chosen == everything[2] and chosen.caption_id == "10002456.jpg#0"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1.jpg#0 no tab\n", "line 1: expected a picture, # and a number, a tab and a caption"),
        ("1.jpg\tno number\n", "line 1: expected a picture"),
        ("1.jpg#0\t \n", "line 1: expected a picture"),
        ("1.jpg#0\ta\n\n1.jpg#0\tb\n", "line 3: caption '1.jpg#0' stands there twice"),
    ],
)
def test_a_line_that_is_no_caption_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "results.token").write_text(text)
    with pytest.raises(DataError, match=message):
        read(files={"captions": tmp_path / "results.token"})


def test_a_listed_picture_without_captions_is_named(tmp_path: Path) -> None:
    (tmp_path / "results.token").write_text(LINES)
    (tmp_path / "val.txt").write_text("10002456\n7\n")
    with pytest.raises(DataError, match=r"1 of its pictures have no caption in .*, first 'flickr30k:7'"):
        read(files={"captions": tmp_path / "results.token", "ids": tmp_path / "val.txt"})


def test_official_files_are_known_by_their_own_fields(tmp_path: Path) -> None:
    questions = tmp_path / "anything.json"
    questions.write_text(json.dumps({"data_subtype": "val2014", "questions": []}))
    packed = tmp_path / "packed.json.gz"
    packed.write_bytes(gzip.compress(questions.read_bytes()))
    for path in (questions, packed):
        found = published_of("vqa_v2", {"questions": path}, "")
        assert found is not None and (found.count, found.what) == (214_354, "records")
    splits = tmp_path / "splits.json"
    splits.write_text(json.dumps({"images": ["x" * 200_000], "dataset": "coco"}))  # the field stands at the end
    found = published_of("karpathy", {"dataset": splits}, "train+restval")
    assert found is not None and (found.count, found.what) == (113_287, "pictures")
    assert published_of("karpathy", {"dataset": questions}, "train") is None
    lists = published_of("flickr30k_entities", {"ids": Path("x/train.txt")}, "")
    assert lists is not None and lists.count == 29_783


def test_official_lists_of_the_sample_data_have_the_published_numbers(shared_data: Path) -> None:
    from vltool.datasets.id_lists import read_names

    for name in ("train", "val", "test"):
        path = shared_data / "flickr30k_entities" / "splits" / f"{name}.txt"
        found = published_of("flickr30k_entities", {"ids": path}, "")
        assert found is not None and found.count == len(read_names(path))


def test_a_file_that_several_splits_are_read_from_is_parsed_once(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.json").write_text("{}")
    with keeping_json([tmp_path / "a.json"]):
        first = read_json(tmp_path / "a.json")
        assert read_json(tmp_path / "a.json") is first
        assert read_json(tmp_path / "b.json") is not read_json(tmp_path / "b.json")
        assert read_json(tmp_path / "a.json") is not first  # one at a time
    assert read_json(tmp_path / "a.json") is not first
