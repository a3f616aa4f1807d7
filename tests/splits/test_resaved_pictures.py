"""Copies of a picture under another id are found by their look, different pictures are not; measured on the world."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vltool.features.describe import describe_file
from vltool.features.images import ORIENTATION, UPRIGHT, ImageFile, load_image
from vltool.splits.near_duplicates import MAX_DISTANCE, near_duplicates
from vltool.world.picture import draw_scene
from vltool.world.scene import generate_scene

SAVES = [(90, 1.0), (60, 0.5), (40, 0.5), (75, 2.0)]


def looks(pixels: np.ndarray) -> list[str]:
    facts = describe_file(ImageFile(pixels, 1, "", 0, ""))
    return [facts["phash"], *facts["phash_turned"]]


def world_pictures(count: int) -> list[np.ndarray]:
    return [
        np.asarray(Image.fromarray(np.asarray(draw_scene(generate_scene(0, n)))).convert("RGB")) for n in range(count)
    ]


def saved_again(pixels: np.ndarray, quality: int, scale: float, *, turn: Any = None) -> np.ndarray:
    image = Image.fromarray(pixels)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
    content = io.BytesIO()
    (image if turn is None else image.transpose(turn)).save(content, "JPEG", quality=quality)
    return np.asarray(Image.open(content).convert("RGB"))


def found_between(trained: list[np.ndarray], evaluated: list[np.ndarray]) -> list[tuple[Any, Any]]:
    table: Any = {f"vg:{k}": looks(pixels) for k, pixels in enumerate(trained)}
    table |= {f"coco:{k}": looks(pixels) for k, pixels in enumerate(evaluated)}
    a, b = [i for i in table if i[0] == "v"], [i for i in table if i[0] == "c"]
    return [(row["a"], row["b"]) for row in near_duplicates(a, b, table)]


def test_copies_of_world_pictures_are_found_and_nothing_else_is() -> None:
    originals = world_pictures(60)
    turns = [None, *UPRIGHT.values()]
    copies = [
        saved_again(pixels, *SAVES[k % len(SAVES)], turn=turns[k % len(turns)]) for k, pixels in enumerate(originals)
    ]
    assert sorted(found_between(originals, copies)) == sorted((f"vg:{k}", f"coco:{k}") for k in range(60))


@pytest.mark.slow
def test_no_two_of_600_world_pictures_look_alike() -> None:
    pictures = world_pictures(600)
    table: Any = {f"world:{k}": looks(pixels) for k, pixels in enumerate(pictures)}
    assert near_duplicates(table, table, table, max_distance=MAX_DISTANCE) == []


def test_copies_of_photographs_are_found_and_nothing_else_is(shared_data: Path) -> None:
    paths = [
        path
        for path in sorted([*shared_data.rglob("*.jpg"), *shared_data.rglob("*.png")])
        if "robustness" not in path.parts and path.stat().st_size
    ][::2]
    originals = [load_image(path).pixels for path in paths]
    turns = [*UPRIGHT.values(), None]
    copies = [saved_again(pixels, *SAVES[k % 3], turn=turns[k % len(turns)]) for k, pixels in enumerate(originals)]
    assert len(paths) > 40
    assert sorted(found_between(originals, copies)) == sorted((f"vg:{k}", f"coco:{k}") for k in range(len(paths)))


def test_a_flipped_orientation_tag_does_not_hide_a_copy(tmp_path: Path) -> None:
    image = Image.fromarray(world_pictures(1)[0])
    image.save(tmp_path / "original.jpg", quality=90)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        image.save(tmp_path / f"tagged {orientation}.jpg", quality=70, exif=exif)
    original = load_image(tmp_path / "original.jpg").pixels
    tagged = [load_image(tmp_path / f"tagged {orientation}.jpg").pixels for orientation in range(1, 9)]
    assert {b for _, b in found_between([original], tagged)} == {f"coco:{k}" for k in range(8)}
