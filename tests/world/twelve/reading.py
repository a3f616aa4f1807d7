"""Finds in a scene what words speak of, from the words alone: what the tests of the datasets check their files with."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from vltool.world.scene import Scene, SceneObject

SIZES = ("small", "large")
TEXTURES = ("plain", "striped", "dotted", "checkered")
COLOURS = ("red", "green", "blue", "yellow", "purple", "orange", "white", "black")
SHAPES = ("circle", "square", "triangle", "star", "heart", "cross")
ANYTHING = ("shape", "object", "thing", "shapes", "objects", "one")
SYNONYMS = {"little": "small", "big": "large", "spotted": "dotted", "crosses": "cross"}
SYNONYMS |= {f"{shape}s": shape for shape in SHAPES[:5]}
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight")
VISUAL_GENOME_FIRST = 2_300_000


def json_lines(path: Path) -> list[Any]:
    raw = path.read_bytes()
    text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()
    return [json.loads(line) for line in text.splitlines()]


def fits(item: SceneObject, words: str) -> bool:
    """Whether "small red stars" is true of the object."""
    values = [SYNONYMS.get(word, word) for word in words.split() if word not in ANYTHING]
    assert all(value in (*SIZES, *TEXTURES, *COLOURS, *SHAPES) for value in values), words
    return all(value in (item.size, item.texture, item.colour, item.shape) for value in values)


def rows(scene: Scene, words: str) -> list[int]:
    """Rows of the objects that the words are true of."""
    return [row for row, item in enumerate(scene.objects) if fits(item, words)]


def only(scene: Scene, words: str) -> int:
    found = rows(scene, words)
    assert len(found) == 1, (scene.number, words, "is not one object")
    return found[0]


def towards(scene: Scene, row: int, side: str) -> list[int]:
    """Rows of the objects that lie on that side ("left of", …) of one, by however little."""
    axis, sign = {"left of": (0, -1), "right of": (0, 1), "above": (1, -1), "below": (1, 1)}[side]
    here = scene.objects[row].centre[axis]
    return [other for other, item in enumerate(scene.objects) if sign * (item.centre[axis] - here) > 0]


def plainly(scene: Scene, row: int, side: str, other: int) -> bool:
    """Whether one object lies on that side of another by 20 pixels and more."""
    axis, sign = {"left of": (0, -1), "right of": (0, 1), "above": (1, -1), "below": (1, 1)}[side]
    return sign * (scene.objects[row].centre[axis] - scene.objects[other].centre[axis]) > 20


def furthest(scene: Scene, found: list[int], side: str) -> int:
    """The row of the object that lies furthest to the "left", "right", "top" or "bottom", by 20 pixels and more."""
    axis, sign = {"left": (0, -1), "right": (0, 1), "top": (1, -1), "bottom": (1, 1)}[side]
    first, second = sorted(found, key=lambda row: -sign * scene.objects[row].centre[axis])[:2]
    assert sign * (scene.objects[first].centre[axis] - scene.objects[second].centre[axis]) > 20
    return first
