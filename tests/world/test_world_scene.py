"""Scenes and pictures of the generated world: reproducible, inside the picture, and seen well enough."""

from __future__ import annotations

import hashlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from vltool.errors import ConfigError
from vltool.world.picture import draw_scene, save_jpeg
from vltool.world.scene import (
    BACKGROUNDS,
    COLOURS,
    EXTENTS_PX,
    MIN_VISIBLE,
    SHAPES,
    TEXTURES,
    Scene,
    generate_scene,
    outline,
)

SCENES = [generate_scene(11, number) for number in range(300)]


def finely_drawn(scene: Scene, row: int, *, fineness: int = 3) -> np.ndarray:
    mask = Image.new("1", (scene.width * fineness, scene.height * fineness))
    corners = [(x * fineness, y * fineness) for x, y in outline(scene.objects[row]).tolist()]
    ImageDraw.Draw(mask).polygon(corners, fill=1)
    return np.array(mask)


def test_scene_depends_on_seed_and_number_alone() -> None:
    assert generate_scene(11, 7) == SCENES[7]
    assert generate_scene(12, 7) != SCENES[7]
    assert generate_scene(11, 8) != SCENES[7]


def test_scenes_have_three_to_eight_objects_inside_the_picture() -> None:
    for scene in SCENES:
        assert 3 <= len(scene.objects) <= 8
        for item in scene.objects:
            x1, y1, x2, y2 = item.box
            assert 0 <= x1 < x2 <= scene.width and 0 <= y1 < y2 <= scene.height
            assert 0 < item.centre[0] < scene.width and 0 < item.centre[1] < scene.height


def test_box_is_the_extent_of_the_outline_clipped_to_the_picture() -> None:
    for scene in SCENES[:50]:
        for item in scene.objects:
            corners = outline(item)
            clipped = np.clip(corners, 0, (scene.width, scene.height))
            assert item.box == pytest.approx((*clipped.min(axis=0), *clipped.max(axis=0)))
            assert (corners.max(axis=0) - corners.min(axis=0)).max() == pytest.approx(item.extent)


def test_size_word_follows_from_the_extent() -> None:
    for scene in SCENES:
        for item in scene.objects:
            least, most = EXTENTS_PX[item.size]
            assert least <= item.extent <= most
    assert EXTENTS_PX["small"][1] + 15 < EXTENTS_PX["large"][0]


def test_every_object_keeps_enough_in_sight() -> None:
    for scene in SCENES[:150]:
        masks = [finely_drawn(scene, row) for row in range(len(scene.objects))]
        for row, mask in enumerate(masks):
            hidden = np.any(masks[row + 1 :], axis=0) if masks[row + 1 :] else np.zeros_like(mask)
            assert (mask & ~hidden).sum() >= MIN_VISIBLE * mask.sum(), (scene.number, row)


def test_every_value_occurs_often_and_pictures_differ_in_size() -> None:
    items = [item for scene in SCENES for item in scene.objects]
    for names, values in (
        (SHAPES, [item.shape for item in items]),
        (COLOURS, [item.colour for item in items]),
        (TEXTURES, [item.texture for item in items]),
        (BACKGROUNDS, [scene.background for scene in SCENES]),
    ):
        for name in names:
            assert values.count(name) > 0.5 * len(values) / len(names), name
    assert any(scene.width < scene.height for scene in SCENES) and any(scene.width > scene.height for scene in SCENES)


def test_negative_seed_is_refused() -> None:
    with pytest.raises(ConfigError, match="seed -1, picture 3: neither may be negative"):
        generate_scene(-1, 3)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_picture_has_the_size_of_its_scene_and_the_same_bytes_again(number: int) -> None:
    image = draw_scene(SCENES[number])
    assert (image.mode, image.size) == ("RGB", (SCENES[number].width, SCENES[number].height))
    assert image.tobytes() == draw_scene(generate_scene(11, number)).tobytes()


def test_jpeg_bytes_are_the_same_for_the_same_scene(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        save_jpeg(draw_scene(SCENES[4]), tmp_path / name)
    first, second = ((tmp_path / name).read_bytes() for name in ("a.jpg", "b.jpg"))
    assert hashlib.sha256(first).digest() == hashlib.sha256(second).digest()
    assert Image.open(BytesIO(first)).size == (SCENES[4].width, SCENES[4].height)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jpg", "b.jpg"]


def test_plain_objects_show_their_colour() -> None:
    channel = {"red": 0, "green": 1, "blue": 2}
    seen = 0
    for scene in SCENES[:60]:
        pixels = np.asarray(draw_scene(scene)).astype(int)
        nearest = scene.objects[-1]  # nothing hides it
        if nearest.texture == "plain" and nearest.colour in channel:
            x, y = (int(value) for value in nearest.centre)
            assert pixels[y, x].argmax() == channel[nearest.colour]
            seen += 1
    assert seen >= 3
