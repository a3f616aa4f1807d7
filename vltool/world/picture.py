"""Pictures of the generated world: a scene drawn as an RGB image, the same bytes for the same scene.

Every object is drawn on a patch of its own at four times the size, textured there, and brought down to pixels,
so edges and textures are smooth; a soft shadow and a thin outline keep it apart from any background.
"""

import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from vltool.world.background import paint_background
from vltool.world.scene import Scene, SceneObject, outline

_FINENESS = 4  # drawn pixels a picture pixel, each way
_MARGIN = 4  # pixels around an object's patch: room for the outline and the shadow
_PAINT_STREAM = 1  # third word of the picture's random seed, so that paint and content draw apart

_RGB = {
    "red": (208, 32, 38),
    "green": (28, 146, 58),
    "blue": (36, 76, 204),
    "yellow": (248, 216, 36),
    "purple": (132, 46, 164),
    "orange": (244, 132, 22),
    "white": (246, 246, 246),
    "black": (26, 26, 28),
}
_TEXTURE_RGB = {  # the second colour of a striped, dotted or checkered object: near enough to keep its colour's name
    "red": (250, 170, 166),
    "green": (164, 224, 160),
    "blue": (158, 188, 252),
    "yellow": (176, 134, 8),
    "purple": (216, 166, 236),
    "orange": (158, 70, 4),
    "white": (160, 160, 166),
    "black": (120, 120, 126),
}


def draw_scene(scene: Scene) -> Image.Image:
    """The scene as an RGB image of scene.width by scene.height pixels.

    Light, its direction and each object's tint vary a little from picture to picture; they follow from the scene's
    seed and number, so drawing twice gives the same pixels.
    """
    rng = np.random.default_rng([scene.seed, scene.number, _PAINT_STREAM])
    canvas = paint_background(scene.background, rng, scene.width, scene.height).astype(np.float32)  # (H, W, 3)
    for item in scene.objects:
        _paint_object(canvas, item, rng)
    light = _light(rng, scene.width, scene.height)  # (H, W, 1)
    canvas = canvas * light + rng.normal(0, 2.2, size=canvas.shape[:2])[..., None]
    return Image.fromarray(np.clip(canvas + 0.5, 0, 255).astype(np.uint8))


def save_jpeg(image: Image.Image, path: Path, *, quality: int = 90) -> None:
    """Writes the image as a JPEG file, under a temporary name until it is whole."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    image.save(unfinished, format="JPEG", quality=quality, subsampling=0)
    unfinished.replace(path)


def _light(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Brightness of each pixel, (height, width, 1): an overall level and a slope in one direction."""
    level, slope, angle = rng.uniform(0.9, 1.08), rng.uniform(0, 0.14), rng.uniform(0, 2 * np.pi)
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    return (level + slope * (np.cos(angle) * x + np.sin(angle) * y) / 1.4)[..., None]


def _paint_object(canvas: np.ndarray, item: SceneObject, rng: np.random.Generator) -> None:
    """Draws one object on the (H, W, 3) canvas, in place."""
    height, width = canvas.shape[:2]
    corners = outline(item)
    left, top = (np.floor(corners.min(axis=0)) - _MARGIN).astype(int)
    right, bottom = (np.ceil(corners.max(axis=0)) + _MARGIN).astype(int)
    size = ((right - left) * _FINENESS, (bottom - top) * _FINENESS)
    points = [(x, y) for x, y in ((corners - (left, top)) * _FINENESS).tolist()]
    shape = Image.new("L", size)
    ImageDraw.Draw(shape).polygon(points, fill=255)
    texture = Image.fromarray(np.where(_texture(item, size, rng), np.uint8(255), np.uint8(0)))
    line = Image.new("L", size)
    ImageDraw.Draw(line).line([*points, points[0], points[1]], fill=255, width=int(1.3 * _FINENESS), joint="curve")
    cover = _pixels(shape)
    shadow = np.asarray(shape.reduce(_FINENESS).filter(ImageFilter.GaussianBlur(1.6)), dtype=np.float32) / 255
    shadow = np.roll(shadow, (2, 2), axis=(0, 1))[..., None]

    inside = (slice(max(top, 0), min(bottom, height)), slice(max(left, 0), min(right, width)))
    cut = (slice(inside[0].start - top, inside[0].stop - top), slice(inside[1].start - left, inside[1].stop - left))
    base, second, edge = _object_colours(item, rng)
    ground = canvas[inside] * (1 - 0.45 * shadow[cut])
    fill = base + (second - base) * _pixels(texture)[cut]
    drawn = ground + (fill - ground) * cover[cut]
    canvas[inside] = drawn + (edge - drawn) * _pixels(line)[cut]


def _pixels(image: Image.Image) -> np.ndarray:
    """A finely drawn mask brought down to picture pixels: (h, w, 1) float32 in [0, 1]."""
    return np.asarray(image.reduce(_FINENESS), dtype=np.float32)[..., None] / 255


def _object_colours(item: SceneObject, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fill, texture and outline colour of an object, (3,) each, a little off the named colour."""
    jitter = rng.uniform(-9, 9, size=3) if item.colour not in ("black", "white") else rng.uniform(-6, 6)
    base = np.asarray(_RGB[item.colour]) + jitter
    second = np.asarray(_TEXTURE_RGB[item.colour]) + jitter
    edge = np.asarray([150.0] * 3) if item.colour == "black" else 0.35 * base
    return base.astype(np.float32), second.astype(np.float32), edge.astype(np.float32)


def _texture(item: SceneObject, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Where the object's second colour goes, (size[1], size[0]) bool on the finely drawn patch."""
    y, x = np.ogrid[0 : size[1], 0 : size[0]]
    period = (5.5 + 0.11 * item.extent) * _FINENESS
    shift_x, shift_y = rng.uniform(0, period, size=2)
    angle = np.deg2rad(item.tilt)
    across = (x * np.cos(angle) + y * np.sin(angle) + shift_x) / period
    down = (-x * np.sin(angle) + y * np.cos(angle) + shift_y) / period
    if item.texture == "striped":
        return (across + down) * np.sqrt(0.5) * 1.15 % 1 < 0.42
    if item.texture == "dotted":
        return (across % 1 - 0.5) ** 2 + (down % 1 - 0.5) ** 2 < 0.3**2
    if item.texture == "checkered":
        return (np.floor(across * 1.35) + np.floor(down * 1.35)) % 2 == 0
    return np.zeros((size[1], size[0]), dtype=bool)
