"""Reading the boxes that features are to be pooled at."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vltool.detectors.boxes_file import read_boxes
from vltool.errors import ConfigError, DataError


def write(folder: Path, content: object) -> Path:
    (folder / "boxes.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return folder / "boxes.json"


def test_both_formats_give_corners(tmp_path: Path) -> None:
    path = write(tmp_path, {"coco:1": [[10, 20, 30, 45]], "coco:2": []})
    corners = read_boxes(path, "xyxy", recipe="given-boxes")
    assert corners is not None and corners["coco:1"].tolist() == [[10, 20, 30, 45]]
    assert corners["coco:2"].shape == (0, 4) and corners["coco:1"].dtype == np.float32
    sizes = read_boxes(path, "xywh", recipe="given-boxes")
    assert sizes is not None and sizes["coco:1"].tolist() == [[10, 20, 40, 65]]


def test_other_recipes_take_no_boxes(tmp_path: Path) -> None:
    assert read_boxes(None, None, recipe="bottom-up") is None
    with pytest.raises(ConfigError, match="go with --recipe given-boxes"):
        read_boxes(tmp_path / "a.json", "xyxy", recipe="bottom-up")


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"needs --boxes FILE\.json"):
        read_boxes(None, "xyxy", recipe="given-boxes")
    with pytest.raises(ConfigError, match=r"needs --box-format xyxy .* or xywh"):
        read_boxes(write(tmp_path, {}), None, recipe="given-boxes")
    with pytest.raises(DataError, match=r"none\.json: cannot read the boxes"):
        read_boxes(tmp_path / "none.json", "xyxy", recipe="given-boxes")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not a JSON file"),
        ([1], "found list"),
        ({"a": [[1, 2, 3]]}, "a: expected a list of boxes of four numbers each"),
        ({"a": [["x", 2, 3, 4]]}, "a: expected a list of boxes"),
        ({"a": [[0, 0, 5, 5], [50, 60, 20, 30]]}, "a: box 1 is .* which is empty. Is --box-format xyxy right?"),
    ],
)
def test_wrong_contents_are_named(tmp_path: Path, content: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_boxes(write(tmp_path, content), "xyxy", recipe="given-boxes")


@pytest.mark.parametrize(
    "boxes", ['[["1", "2", "3", "4"]]', "[[true, false, 3, 4]]", "[" * 20000, "[[1e999, 0, 1, 1]]"]
)
def test_what_only_looks_like_numbers_is_refused(tmp_path: Path, boxes: str) -> None:
    (tmp_path / "b.json").write_text('{"file:a": ' + boxes + "}")
    with pytest.raises(DataError, match=r"b\.json"):
        read_boxes(tmp_path / "b.json", "xyxy", recipe="given-boxes")
