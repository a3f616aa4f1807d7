"""COCO's captions and instances, and Karpathy's splits of them."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vltool.datasets import coco_captions, coco_instances, karpathy
from vltool.datasets.records import CaptionRecord, ObjectRecord
from vltool.errors import DataError

IMAGES = [
    {"id": 42, "file_name": "COCO_val2014_000000000042.jpg", "height": 478, "width": 640},
    {"id": 73, "file_name": "COCO_val2014_000000000073.jpg", "height": 640, "width": 565},
]
CAPTIONS: dict[str, Any] = {
    "images": IMAGES,
    "annotations": [
        {"image_id": 42, "id": 641613, "caption": "A shoe rack with some shoes and a dog sleeping on them"},
        {"image_id": 73, "id": 111111, "caption": "Ein Motorrad für zwei 🏍"},
    ],
}
INSTANCES: dict[str, Any] = {
    "images": IMAGES,
    "categories": [{"id": 18, "name": "dog", "supercategory": "animal"}],
    "annotations": [
        {"id": 1817255, "image_id": 42, "category_id": 18, "bbox": [214.15, 41.29, 348.26, 243.78], "iscrowd": 0},
        {"id": 5, "image_id": 73, "category_id": 18, "bbox": [1, 2, 0, 3], "iscrowd": 1},
    ],
}
KARPATHY: dict[str, Any] = {
    "dataset": "coco",
    "images": [
        {
            "filename": f"COCO_val2014_{number:012d}.jpg",
            "cocoid": number,
            "imgid": place,
            "split": split,
            "sentids": [10 * place],
            "sentences": [{"raw": f"Picture {number}.", "tokens": ["picture"], "imgid": place, "sentid": 10 * place}],
        }
        for place, (number, split) in enumerate([(42, "train"), (73, "restval"), (74, "val"), (133, "test")])
    ],
}
Read = Callable[..., list[Any]]
READERS: dict[str, tuple[Read, str, dict[str, Any]]] = {
    "captions": (coco_captions.read, "captions", CAPTIONS),
    "instances": (coco_instances.read, "instances", INSTANCES),
    "karpathy": (karpathy.read, "dataset", KARPATHY),
}


def written(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_captions(tmp_path: Path) -> None:
    path = written(tmp_path / "captions.json", CAPTIONS)
    found = coco_captions.read(files={"captions": path})
    assert found[0] == CaptionRecord("641613", "coco:42", CAPTIONS["annotations"][0]["caption"])  # type: ignore[arg-type]
    assert found[1].text == "Ein Motorrad für zwei 🏍"
    named = coco_captions.read(files={"captions": path}, image_id="world:{stem}")
    assert named[0].image_id == "world:COCO_val2014_000000000042"


def test_captions_of_listed_pictures(tmp_path: Path) -> None:
    files = {"captions": written(tmp_path / "captions.json", CAPTIONS), "val_ids": tmp_path / "val.txt"}
    files["val_ids"].write_text("val2014/COCO_val2014_000000000073.jpg 73\r\n")
    assert [record.image_id for record in coco_captions.read(files=files, split="val")] == ["coco:73"]
    files["val_ids"].write_text("73\n74\n")
    with pytest.raises(DataError, match="1 of its 2 pictures are not in the annotation file, first 'coco:74'"):
        coco_captions.read(files=files, split="val")


def test_instances_become_corner_boxes(tmp_path: Path) -> None:
    found = coco_instances.read(files={"instances": written(tmp_path / "instances.json", INSTANCES)})
    assert found[0] == ObjectRecord(
        1817255,
        "coco:42",
        "dog",
        (214.15, 41.29, 214.15 + 348.26, 41.29 + 243.78),
        478,
        640,  # type: ignore[arg-type]
    )
    assert found[1].box == (1, 2, 1, 5) and found[1].is_crowd


@pytest.mark.parametrize(
    ("split", "expected"),
    [("train", [42]), ("train+restval", [42, 73]), ("val", [74]), ("test", [133]), ("", [42, 73, 74, 133])],
)
def test_karpathy_splits(tmp_path: Path, split: str, expected: list[int]) -> None:
    found = karpathy.read(files={"dataset": written(tmp_path / "dataset_coco.json", KARPATHY)}, split=split)
    assert [record.image_id for record in found] == [f"coco:{number}" for number in expected]
    assert found[0].caption_id.isdigit() and found[0].text.startswith("Picture")


def test_karpathy_names_other_datasets_by_file(tmp_path: Path) -> None:
    content = copy.deepcopy(KARPATHY) | {"dataset": "flickr30k"}
    content["images"][0]["filename"] = "1000092795.jpg"
    del content["images"][0]["cocoid"]
    path = written(tmp_path / "dataset_flickr30k.json", content)
    assert karpathy.read(files={"dataset": path})[0].image_id == "flickr30k:1000092795"
    assert karpathy.read(files={"dataset": path}, image_id="world:{number}")[0].image_id == "world:1000092795"


def test_an_unknown_karpathy_split_lists_the_known(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no split 'testing'; choose of train, restval, val, test"):
        karpathy.read(files={"dataset": written(tmp_path / "dataset.json", KARPATHY)}, split="testing")


@pytest.mark.parametrize(
    ("reader", "place", "value", "message"),
    [
        ("captions", ("annotations", 1, "image_id"), 9, r"annotations\[1\]\.image_id: expected the id of a picture"),
        ("captions", ("annotations", 1, "image_id"), "73", r"annotations\[1\]\.image_id: expected a whole number ≥ 0"),
        ("captions", ("annotations", 1, "id"), 641613, r"annotations\[1\]\.id: expected an id of its own"),
        ("captions", ("annotations", 0, "caption"), None, r"annotations\[0\]\.caption: expected text, found None"),
        ("captions", ("annotations", 0, "caption"), "  ", "expected text that is not blank"),
        ("captions", ("annotations", 0, "caption"), "\ud800", "half a surrogate pair"),
        ("captions", ("annotations", 0), [], r"annotations\[0\]: expected an object of fields"),
        ("captions", ("images", 1, "id"), 42, r"images\[1\]\.id: expected an id of its own"),
        ("captions", ("images", 1, "id"), True, "expected a whole number"),
        ("captions", ("images", 0, "height"), 0, r"images\[0\]\.height: expected a whole number ≥ 1"),
        ("captions", ("annotations",), {}, "captions.json: annotations: expected a list"),
        ("instances", ("annotations", 0, "bbox"), [1, 2, -1, 3], r"bbox: expected four finite numbers .*width ≥ 0"),
        ("instances", ("annotations", 0, "bbox"), [1, 2, float("nan"), 3], "expected four finite numbers"),
        ("instances", ("annotations", 0, "bbox"), [1, 2, 3], "expected four finite numbers"),
        ("instances", ("annotations", 0, "category_id"), 1, "expected the id of a class"),
        ("instances", ("annotations", 1, "id"), 1817255, "expected an id of its own"),
        ("instances", ("annotations", 0, "iscrowd"), "no", "expected 0 or 1"),
        ("karpathy", ("images", 1, "filename"), "x", r"images\[1\]\.(filename|cocoid)"),
        ("karpathy", ("images", 1, "split"), "dev", "expected one of train, restval, val, test"),
        ("karpathy", ("images", 1, "sentids"), [3], "expected the ids of the sentences"),
        (
            "karpathy",
            ("images", 1, "sentences", 0, "sentid"),
            0,
            r"images\[1\]\.sentences\[0\]\.sentid: expected an id",
        ),
        ("karpathy", ("images", 1, "sentences", 0, "raw"), 5, r"sentences\[0\]\.raw: expected text, found 5"),
        ("karpathy", ("images", 1, "cocoid"), 42, "expected a picture that is not listed before"),
    ],
)
def test_a_wrong_record_is_named(
    tmp_path: Path, reader: str, place: tuple[str | int, ...], value: object, message: str
) -> None:
    read, name, valid = READERS[reader]
    content = copy.deepcopy(valid)
    target: Any = content
    for step in place[:-1]:
        target = target[step]
    target[place[-1]] = value
    if place[-1] == "filename":
        del target["cocoid"]
    path = written(tmp_path / f"{name}.json", content)
    with pytest.raises(DataError, match=f"{name}.json: .*{message}" if "json" not in message else message):
        read(files={name: path})


def test_sample_data_loads_in_full(shared_data: Path) -> None:
    annotations = shared_data / "coco_mini" / "annotations"
    counts = {"train": (200, 317), "val": (115, 257)}
    for split, (captions, objects) in counts.items():
        read_captions = coco_captions.read(files={"captions": annotations / f"captions_{split}2017.json"})
        read_objects = coco_instances.read(files={"instances": annotations / f"instances_{split}2017.json"})
        assert (len(read_captions), len(read_objects)) == (captions, objects)
    for name, images in (("derived/dataset_coco.json", 41), ("dataset_flickr8k.json", 682)):
        records = karpathy.read(files={"dataset": shared_data / "karpathy" / name})
        assert len({record.image_id for record in records}) == images
