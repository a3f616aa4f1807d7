"""Single bad records in otherwise good files: each is an error that names file, record and field."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vltool.datasets import coco_captions, coco_instances, flickr30k_entities, karpathy, vqa_v2
from vltool.errors import DataError

IMAGES = [{"id": number, "file_name": f"{number:012d}.jpg", "height": 40, "width": 60} for number in (1, 2)]
INSTANCES = {
    "images": IMAGES,
    "categories": [{"id": 1, "name": "cat"}],
    "annotations": [{"id": n, "image_id": 2, "category_id": 1, "bbox": [5, 1, 20, 3], "iscrowd": 0} for n in (1, 2)],
}
CAPTIONS = {"images": IMAGES, "annotations": [{"image_id": 1, "id": n, "caption": "A cat."} for n in (3, 4)]}
SENTENCE = "[/EN#1/people A man] sits ."
XML = (
    "<annotation><size><width>60</width><height>40</height></size><object><name>1</name><bndbox><xmin>{}</xmin>"
    "<ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object></annotation>"
)


def changed(content: Any, change: Callable[[Any], None]) -> str:
    content = copy.deepcopy(content)
    change(content)
    return json.dumps(content)


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ([float("nan"), 1, 2, 3], "four finite numbers"),
        ([1, 1, float("inf"), 3], "four finite numbers"),
        ([10, 10, -4, 3], "width ≥ 0"),
        ([1, 2, 3], "four finite numbers"),
        ([1, 2, 3, "4"], "four finite numbers"),
        (None, "four finite numbers"),
        ([60, 1, 5, 5], "a box in the picture of 60 x 40"),
        ([1, -9, 5, 5], "a box in the picture of 60 x 40"),
    ],
)
def test_boxes_of_coco(tmp_path: Path, box: Any, reason: str) -> None:
    path = tmp_path / "instances.json"
    path.write_text(changed(INSTANCES, lambda content: content["annotations"][1].update(bbox=box)))
    with pytest.raises(DataError, match=rf"instances.json: annotations\[1\]\.bbox: expected .*{reason}"):
        coco_instances.read(files={"instances": path})


def test_a_box_over_the_edge_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "instances.json"
    path.write_text(changed(INSTANCES, lambda content: content["annotations"][1].update(bbox=[50, 30, 20, 20])))
    assert coco_instances.read(files={"instances": path})[1].box == (50, 30, 70, 50)


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ((9, 5, 3, 8), "expected xmin ≤ xmax"),
        (("nan", 5, 30, 8), "xmin: expected a whole number, found 'nan'"),
        (("", 5, 30, 8), "xmin: expected a whole number, found 'nothing'"),
        ((70, 5, 80, 8), "a box in the picture of 60 x 40"),
    ],
)
def test_boxes_of_entities(tmp_path: Path, box: Any, reason: str) -> None:
    (tmp_path / "7.txt").write_text(SENTENCE)
    (tmp_path / "7.xml").write_text(XML.format(*box))
    with pytest.raises(DataError, match=r"7\.xml: object\[0\].*" + reason):
        flickr30k_entities.read(files={"sentences": tmp_path, "annotations": tmp_path})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda c: c["annotations"][1].update(caption=" \n"),
            r"annotations\[1\]\.caption: expected text that is not blank",
        ),
        (lambda c: c["annotations"][1].update(caption=7), r"annotations\[1\]\.caption: expected text, found 7"),
        (lambda c: c["annotations"][1].pop("caption"), r"annotations\[1\]\.caption: expected text, found nothing"),
        (lambda c: c["annotations"][1].update(id=3), r"annotations\[1\]\.id: expected an id of its own"),
        (lambda c: c["annotations"][1].update(image_id=9), r"annotations\[1\]\.image_id: expected the id of a picture"),
        (lambda c: c["images"].append(c["images"][0]), r"images\[2\]\.id: expected an id of its own"),
        (lambda c: c.pop("images"), "images: expected a list, found nothing"),
    ],
)
def test_captions(tmp_path: Path, change: Callable[[Any], None], message: str) -> None:
    path = tmp_path / "captions.json"
    path.write_text(changed(CAPTIONS, change))
    with pytest.raises(DataError, match="captions.json: " + message):
        coco_captions.read(files={"captions": path})


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_truncated_json(tmp_path: Path, share: float) -> None:
    text = json.dumps(CAPTIONS)
    (tmp_path / "captions.json").write_text(text[: round(share * len(text)) - 1])
    with pytest.raises(DataError, match=r"captions\.json: not JSON: "):
        coco_captions.read(files={"captions": tmp_path / "captions.json"})


@pytest.mark.parametrize("text", ["为什么? ¿qué? 🐈", "why " * 2500, "é" * 10_000, "x\u2028y"])
def test_text_of_any_script_and_length_is_read_as_it_is(tmp_path: Path, text: str) -> None:
    (tmp_path / "q.json").write_text(json.dumps({"questions": [{"question_id": 1, "image_id": 2, "question": text}]}))
    assert vqa_v2.read(files={"questions": tmp_path / "q.json"})[0].question == text
    sentence = {"raw": text, "sentid": 1}
    image = {"filename": "a_1.jpg", "cocoid": 1, "split": "val", "sentids": [1], "sentences": [sentence]}
    (tmp_path / "k.json").write_text(json.dumps({"dataset": "coco", "images": [image]}))
    assert karpathy.read(files={"dataset": tmp_path / "k.json"})[0].text == text
