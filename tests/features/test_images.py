"""Any image file becomes upright RGB, or an error with its reason."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vltool.errors import DataError
from vltool.features.images import decode_image, load_image, read_image

# Four quarters: red, green / blue, white.
QUARTERS = np.zeros((4, 6, 3), np.uint8)
QUARTERS[:2, :3] = (255, 0, 0)
QUARTERS[:2, 3:] = (0, 255, 0)
QUARTERS[2:, :3] = (0, 0, 255)
QUARTERS[2:, 3:] = 255


def encode(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def decode(image: Image.Image, form: str = "PNG", **options: object) -> np.ndarray:
    return decode_image(encode(image, form, **options), where="picture")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(orientation: int) -> None:
    stored = {
        1: QUARTERS,
        2: QUARTERS[:, ::-1],
        3: QUARTERS[::-1, ::-1],
        4: QUARTERS[::-1],
        5: QUARTERS.transpose(1, 0, 2),
        6: np.rot90(QUARTERS),
        7: QUARTERS[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(QUARTERS, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = decode(Image.fromarray(np.ascontiguousarray(stored)), exif=exif)
    np.testing.assert_array_equal(found, QUARTERS)


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_meaningless_orientation_turns_nothing(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    np.testing.assert_array_equal(decode(Image.fromarray(QUARTERS), exif=exif), QUARTERS)


def test_transparency_is_laid_on_white() -> None:
    alpha = np.array([[0, 128, 255]], np.uint8)
    layered = np.dstack([np.zeros((1, 3, 3), np.uint8), alpha])
    np.testing.assert_array_equal(decode(Image.fromarray(layered))[0, :, 0], [255, 127, 0])
    gray = Image.fromarray(np.dstack([np.zeros((1, 3), np.uint8), alpha]), mode="LA")
    np.testing.assert_array_equal(decode(gray)[0, :, 1], [255, 127, 0])
    palette = Image.fromarray(np.array([[0, 1]], np.uint8), mode="P")
    palette.putpalette([10, 20, 30, 40, 50, 60])
    np.testing.assert_array_equal(decode(palette, transparency=0)[0], [[255, 255, 255], [40, 50, 60]])
    keyed = Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8))
    np.testing.assert_array_equal(decode(keyed, transparency=(1, 2, 3))[0], [[255, 255, 255], [4, 5, 6]])


def test_gray_palette_bilevel_and_cmyk_become_rgb() -> None:
    gray = np.array([[0, 100, 255]], np.uint8)
    np.testing.assert_array_equal(decode(Image.fromarray(gray))[0, :, 2], [0, 100, 255])
    np.testing.assert_array_equal(decode(Image.fromarray(gray > 50))[0, :, 0], [0, 255, 255])
    cmyk = decode(Image.fromarray(np.full((8, 8, 3), 200, np.uint8)).convert("CMYK"), "JPEG", quality=100)
    assert cmyk.shape == (8, 8, 3) and np.abs(cmyk.astype(int) - 200).max() <= 2


def test_16_bits_become_8() -> None:
    deep = np.array([[0, 257, 128 * 257, 65535]], np.uint16)
    np.testing.assert_array_equal(decode(Image.fromarray(deep))[0, :, 0], [0, 1, 128, 255])
    np.testing.assert_array_equal(decode(Image.fromarray(deep.astype(np.int32)), "TIFF")[0, :, 0], [0, 1, 128, 255])


def test_pixels_without_a_defined_brightness_are_refused() -> None:
    with pytest.raises(DataError, match="no defined brightness"):
        decode(Image.fromarray(np.array([[0.0, 1.5]], np.float32)), "TIFF")
    with pytest.raises(DataError, match="from 0 to 70000"):
        decode(Image.fromarray(np.array([[0, 70000]], np.int32)), "TIFF")


def test_first_frame_of_an_animation_is_taken() -> None:
    frames = [Image.fromarray(np.full((5, 5, 3), value, np.uint8)) for value in (10, 200)]
    found = decode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert np.abs(found.astype(int) - 10).max() <= 2


def test_file_is_known_by_name_size_and_hash(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encode(Image.fromarray(QUARTERS)))
    found = load_image(tmp_path / "a.png")
    assert (found.name, found.num_bytes) == ("a.png", (tmp_path / "a.png").stat().st_size)
    assert len(found.sha256) == 64


def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    png = encode(Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 50, 3), np.uint8)))
    cases = {
        "empty.jpg": (b"", "the file is empty"),
        "text.jpg": (b"this is not a picture", "not an image in a format that Pillow reads"),
        "short.png": (png[: len(png) // 2], "damaged or truncated image"),
    }
    for name, (data, reason) in cases.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(DataError, match=f"{name}: {reason}"):
            read_image(tmp_path / name)
    with pytest.raises(DataError, match=r"none\.jpg: no such file"):
        read_image(tmp_path / "none.jpg")
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read_image(tmp_path)


def test_decompression_bomb_is_refused() -> None:
    header = b"GIF87a" + (65535).to_bytes(2, "little") * 2 + b"\x00\x00\x00"
    frame = b"," + bytes(4) + (65535).to_bytes(2, "little") * 2 + b"\x80" + bytes(6) + b"\x02\x02D\x01\x00;"
    with pytest.raises(DataError, match="decompression bomb"):
        decode_image(header + frame, where="bomb.gif")


def test_difficult_pictures_are_read_or_refused_as_their_manifest_says(shared_data: Path) -> None:
    files = json.loads((shared_data / "robustness" / "MANIFEST.json").read_text(encoding="utf-8"))["files"]
    for name, facts in files.items():
        path = shared_data / name
        if facts.get("load") == "ok":
            width, height = facts["size"]
            turned = (facts["exif_orientation"] or 1) >= 5
            assert read_image(path).shape == ((width, height, 3) if turned else (height, width, 3)), name
        else:
            with pytest.raises(DataError, match=r"empty|not an image|damaged or truncated|bomb"):
                read_image(path)


def test_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(DataError, match="not a file, but a pipe"):
        read_image(tmp_path / "pipe.jpg")
