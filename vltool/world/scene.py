"""What is in a picture of the generated world: shapes with a colour, a size and a texture on a background.

A scene is a plain description; `picture.py` draws it, `language.py` speaks about it, and `files.py` writes both
down in the official formats. One scene, as `generate_scene(0, 3)` gives it (numbers shortened):

    Scene(seed=0, number=3, width=320, height=240, background="wood", objects=(
        SceneObject(shape="star", colour="red", size="large", texture="plain",
                    centre=(92.4, 71.0), extent=73.1, tilt=-4.2, box=(55.9, 36.8, 129.0, 105.2)), ...))
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from vltool.errors import ConfigError

SHAPES = ("circle", "square", "triangle", "star", "heart", "cross")
COLOURS = ("red", "green", "blue", "yellow", "purple", "orange", "white", "black")
SIZES = ("small", "large")
TEXTURES = ("plain", "striped", "dotted", "checkered")
BACKGROUNDS = ("wood", "brick", "grass", "sand", "tile", "water", "sky", "carpet")

EXTENTS_PX = {"small": (26.0, 40.0), "large": (58.0, 90.0)}  # longer side of the box; the gap keeps the words apart
MIN_VISIBLE = 0.6  # share of an object that objects in front of it must leave in sight
_MIN_VISIBLE_DRAWN = 0.66  # what the placing asks for: a margin for the coarse masks it measures with
_MAX_BOX_IOU = 0.25  # boxes further apart than any non-maximum suppression in use would merge
_MAX_BOX_COVER = 0.5  # share of the smaller of two boxes that may lie inside the other
_MAX_OVERHANG = 0.12  # share of the extent that may stick out of the picture
_PICTURE_SIZES = ((320, 240), (320, 240), (320, 240), (240, 320), (240, 320), (300, 300), (320, 256), (336, 224))
_NUM_OBJECTS = (3, 4, 4, 5, 5, 5, 6, 6, 7, 8)
_TEXTURE_ODDS = (0.4, 0.2, 0.2, 0.2)


@dataclass(frozen=True)
class SceneObject:
    """One shape of a picture, as it is drawn.

    centre: middle of the outline's full extent, pixels; it stays inside the picture.
    extent: longer side of the full extent, pixels, in the range of `EXTENTS_PX[size]`.
    tilt:   turn of the outline, degrees.
    box:    (x1, y1, x2, y2) full extent of the outline, hidden parts included, clipped to the picture; float pixels.
    """

    shape: str
    colour: str
    size: str
    texture: str
    centre: tuple[float, float]
    extent: float
    tilt: float
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class Scene:
    """One picture's content. `objects` run from the furthest to the nearest: later ones hide earlier ones."""

    seed: int
    number: int
    width: int
    height: int
    background: str
    objects: tuple[SceneObject, ...]


def generate_scene(seed: int, number: int) -> Scene:
    """The scene of this number in the world of this seed: 3 to 8 objects.

    Depends on the two numbers alone, so a world may be made in any order and by any number of processes.
    Raises ConfigError for a negative seed or number.
    """
    if seed < 0 or number < 0:
        raise ConfigError(f"world seed {seed}, picture {number}: neither may be negative. Choose a seed from 0 up")
    rng = np.random.default_rng([seed, number])
    width, height = _PICTURE_SIZES[int(rng.integers(len(_PICTURE_SIZES)))]
    background = str(rng.choice(BACKGROUNDS))
    # A few favourite colours and shapes a picture, so that things repeat and counting is worth asking for.
    favourite_colours = rng.choice(COLOURS, size=rng.integers(2, 5), replace=False)
    favourite_shapes = rng.choice(SHAPES, size=rng.integers(2, 5), replace=False)
    wanted = int(rng.choice(_NUM_OBJECTS))
    placed: list[SceneObject] = []
    masks: list[np.ndarray] = []
    for _ in range(60 * wanted):
        if len(placed) == wanted:
            break
        candidate = _draw_candidate(rng, placed, favourite_colours, favourite_shapes, width, height)
        mask = _mask(candidate, width, height)
        apart = rng.random() < 0.5  # half of the objects may not touch another's box at all
        if _fits(candidate, mask, placed, masks, apart=apart):
            placed.append(candidate)
            masks.append(mask)
    assert len(placed) >= 3, f"world seed {seed}, picture {number}: only {len(placed)} objects found a place"
    return Scene(seed=seed, number=number, width=width, height=height, background=background, objects=tuple(placed))


def outline(item: SceneObject) -> np.ndarray:
    """Corners of an object's outline, (P, 2) float64 pixels, not clipped to the picture."""
    corners = _UNIT_OUTLINES[item.shape]
    angle = np.deg2rad(item.tilt)
    turned = corners @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])  # (P, 2)
    low, high = turned.min(axis=0), turned.max(axis=0)
    return (turned - (low + high) / 2) * (item.extent / (high - low).max()) + np.asarray(item.centre)


def _box_overlap(a: Sequence[float], b: Sequence[float]) -> tuple[float, float]:
    """Of two (x1, y1, x2, y2) boxes: intersection over union, and over the smaller box."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0, 0.0
    both = width * height
    area_a, area_b = (a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1])
    return both / (area_a + area_b - both), both / min(area_a, area_b)


def _draw_candidate(
    rng: np.random.Generator,
    placed: Sequence[SceneObject],
    favourite_colours: np.ndarray,
    favourite_shapes: np.ndarray,
    width: int,
    height: int,
) -> SceneObject:
    colour = str(rng.choice(favourite_colours if rng.random() < 0.7 else COLOURS))
    shape = str(rng.choice(favourite_shapes if rng.random() < 0.7 else SHAPES))
    size = str(rng.choice(SIZES))
    texture = str(rng.choice(TEXTURES, p=_TEXTURE_ODDS))
    if placed and rng.random() < 0.25:  # one more of a kind that is there already
        twin = placed[int(rng.integers(len(placed)))]
        colour, shape = twin.colour, twin.shape
        if rng.random() < 0.5:
            size, texture = twin.size, twin.texture
    extent = float(rng.uniform(*EXTENTS_PX[size]))
    tilt = float(rng.uniform(-14, 14))
    reach = extent * (0.5 - (_MAX_OVERHANG if rng.random() < 0.2 else -0.04))  # most keep clear of the edge
    centre = (float(rng.uniform(reach, width - reach)), float(rng.uniform(reach, height - reach)))
    item = SceneObject(shape, colour, size, texture, centre, extent, tilt, box=(0.0, 0.0, 0.0, 0.0))
    corners = outline(item)
    (x1, y1), (x2, y2) = corners.min(axis=0), corners.max(axis=0)
    box = (max(float(x1), 0.0), max(float(y1), 0.0), min(float(x2), float(width)), min(float(y2), float(height)))
    return SceneObject(shape, colour, size, texture, centre, extent, tilt, box)


def _mask(item: SceneObject, width: int, height: int) -> np.ndarray:
    """(height, width) bool, True where the outline covers the pixel; coarse, for placing only."""
    image = Image.new("1", (width, height))
    ImageDraw.Draw(image).polygon([(x, y) for x, y in outline(item).tolist()], fill=1)
    return np.array(image)


def _fits(
    candidate: SceneObject,
    mask: np.ndarray,
    placed: Sequence[SceneObject],
    masks: Sequence[np.ndarray],
    *,
    apart: bool,
) -> bool:
    """Whether the candidate, put in front of all, leaves enough of each object and keeps the boxes apart."""
    overlaps = [_box_overlap(candidate.box, item.box) for item in placed]
    if any(iou > (0.0 if apart else _MAX_BOX_IOU) or cover > _MAX_BOX_COVER for iou, cover in overlaps):
        return False
    for index, (iou, _) in enumerate(overlaps):
        if iou == 0.0:
            continue
        hidden = mask.copy()
        for nearer in masks[index + 1 :]:
            hidden |= nearer
        whole = masks[index]
        if (whole & ~hidden).sum() < _MIN_VISIBLE_DRAWN * whole.sum():
            return False
    return True


def _polar(angles: np.ndarray, radii: np.ndarray | float) -> np.ndarray:
    return np.stack([np.sin(angles) * radii, -np.cos(angles) * radii], axis=1)


def _unit_outlines() -> dict[str, np.ndarray]:
    turn = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    heart_x = 16 * np.sin(turn) ** 3
    heart_y = -(13 * np.cos(turn) - 5 * np.cos(2 * turn) - 2 * np.cos(3 * turn) - np.cos(4 * turn))
    arm, edge = 0.17, 0.5
    cross = [(-arm, -edge), (arm, -edge), (arm, -arm), (edge, -arm), (edge, arm), (arm, arm)]
    cross += [(arm, edge), (-arm, edge), (-arm, arm), (-edge, arm), (-edge, -arm), (-arm, -arm)]
    points = np.arange(10) * np.pi / 5
    return {
        "circle": _polar(turn, 0.5),
        "square": np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)]),
        "triangle": np.array([(0.0, -0.5), (0.55, 0.45), (-0.55, 0.45)]),
        "star": _polar(points, np.where(np.arange(10) % 2 == 0, 0.5, 0.23)),
        "heart": np.stack([heart_x, heart_y], axis=1),
        "cross": np.array(cross),
    }


_UNIT_OUTLINES = _unit_outlines()
