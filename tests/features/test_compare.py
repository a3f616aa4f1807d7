"""How far apart two stores are."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from vltool.cli.app import app
from vltool.errors import DataError
from vltool.features.compare import compare, compare_image
from vltool.features.header import make_header
from vltool.features.store import RegionStore
from vltool.structures import ImageId, RegionFeatures

BOXES = np.array([[0, 0, 100, 100], [200, 0, 300, 100], [0, 200, 100, 300]], np.float32)
GIVEN = RegionFeatures(ImageId("coco:1"), np.eye(3, 4, dtype=np.float32), BOXES, 480, 640, classes=np.array([1, 2, 3]))


def make(path: Path, *pictures: RegionFeatures, dtype: str = "float32") -> Path:
    header = make_header(feature_dim=4, dtype=dtype, backend="builtin", fingerprint="f", recipe={"name": "bottom-up"})
    with RegionStore.create(path, header) as store:
        for regions in pictures:
            store.put(regions)
    return path


def test_rows_are_compared_where_the_boxes_agree() -> None:
    features = GIVEN.features.copy()
    features[2] = [0, 0, 1, 1]
    found = compare_image(GIVEN, replace(GIVEN, features=features, boxes=BOXES + 0.5, classes=np.array([1, 2, 4])))
    assert (found.pairs, found.max_difference) == (3, 1.0)
    assert found.cosine == pytest.approx((1 + 1 + 0.5**0.5) / 3) and found.min_cosine == pytest.approx(0.5**0.5)
    assert found.same_class == pytest.approx(2 / 3)
    assert found.iou == pytest.approx(99.5**2 / (2 * 100**2 - 99.5**2))


def test_regions_are_paired_by_place_where_their_order_differs() -> None:
    rows = [2, 0]
    moved = BOXES[rows] + np.array([0, 0, 0, 25], np.float32)
    other = replace(GIVEN, features=GIVEN.features[rows], boxes=moved, classes=GIVEN.classes[rows])  # type: ignore[index]
    found = compare_image(GIVEN, other)
    assert (found.regions_a, found.regions_b, found.pairs, found.max_difference, found.cosine) == (3, 2, 2, 0.0, 1.0)
    assert found.iou == pytest.approx((0.8 + 0 + 0.8 + 0.8 + 0.8) / 5) and found.same_class == 1.0


def test_nothing_in_common_is_said() -> None:
    found = compare_image(GIVEN, replace(GIVEN, boxes=BOXES + 1000))
    assert (found.pairs, found.iou, found.cosine, found.max_difference) == (0, 0.0, None, None)


def test_stores_are_compared_and_the_worst_picture_comes_first(tmp_path: Path) -> None:
    changed = replace(GIVEN, image_id=ImageId("coco:2"), features=GIVEN.features * np.float32(2))
    a = make(tmp_path / "a", GIVEN, replace(GIVEN, image_id=ImageId("coco:2")), replace(GIVEN, image_id=ImageId("x:3")))
    b = make(tmp_path / "b", GIVEN, changed, dtype="float16")
    found = compare(a, b)
    assert (found["images"], found["only_in_a"], found["only_in_b"], found["equal"]) == (2, 1, 0, 1)
    assert (found["max_difference"], found["cosine"], found["iou"], found["pairs"]) == (1.0, 1.0, 1.0, 6)
    result = CliRunner().invoke(app, ["features", "compare", str(a), str(b), "--json"])
    assert json.loads(result.stdout) == json.loads(json.dumps(found))
    assert "coco:2" in CliRunner().invoke(app, ["features", "compare", str(a), str(b)]).stdout
    with pytest.raises(DataError, match=r"have no image in common.*--image-id"):
        compare(a, make(tmp_path / "c", replace(GIVEN, image_id=ImageId("file:9"))))


def test_views_are_what_get_gives_without_a_copy(tmp_path: Path) -> None:
    path = make(tmp_path / "a", GIVEN)
    with RegionStore.open(path) as store, store.views() as view:
        found = view("coco:1")
        np.testing.assert_array_equal(found.features, GIVEN.features)
        np.testing.assert_array_equal(found.boxes, GIVEN.boxes)
        assert (found.image_id, found.height, found.width, found.classes) == ("coco:1", 480, 640, None)
        assert not found.features.flags.writeable and not found.features.flags.owndata
        assert replace(found, height=1).width == 640
        with pytest.raises(DataError, match="no features for image 'coco:2'"):
            view("coco:2")


def test_pictures_without_regions_in_either_store_are_equal(tmp_path: Path) -> None:
    nothing = RegionFeatures(ImageId("coco:2"), np.zeros((0, 4), np.float32), np.zeros((0, 4), np.float32), 480, 640)
    a, b = (make(tmp_path / name, GIVEN, nothing) for name in "ab")
    found = compare(a, b)
    assert (found["equal"], found["iou"]) == (2, 1.0)
    assert compare_image(GIVEN, replace(nothing, image_id=GIVEN.image_id)).iou == 0.0
