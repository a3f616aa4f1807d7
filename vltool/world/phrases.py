"""How the generated world names things: kinds of objects, the words for them, and how two objects lie to each other.

A `Kind` leaves some attributes open: Kind(colour="red", shape="star") stands for every red star of a picture, be it
one ("the red star"), several ("two red stars") or none ("is there a red star ?").
"""

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from vltool.world.scene import Scene, SceneObject

SHAPE_PLURALS = {
    "circle": "circles",
    "square": "squares",
    "triangle": "triangles",
    "star": "stars",
    "heart": "hearts",
    "cross": "crosses",
    "shape": "shapes",
    "object": "objects",
}
SIZE_WORDS = {"small": ("small", "little"), "large": ("large", "big")}
TEXTURE_WORDS = {
    "plain": ("plain",),
    "striped": ("striped",),
    "dotted": ("dotted", "spotted"),
    "checkered": ("checkered",),
}
NUMBER_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight")
OPPOSITES = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}

_CLEARLY_PX = 22.0  # how far apart two centres are, at least, before one is called left of the other
_NEAR_PX = 14.0  # widest gap between the boxes of things called next to each other


class Kind(NamedTuple):
    """A sort of object; None leaves an attribute open."""

    size: str | None = None
    texture: str | None = None
    colour: str | None = None
    shape: str | None = None

    @property
    def num_attributes(self) -> int:
        """How many of the four attributes are given."""
        return sum(value is not None for value in self)


ANYTHING = Kind()
KindIndex = dict[Kind, tuple[int, ...]]


def index_kinds(scene: Scene) -> KindIndex:
    """Every kind that the picture has, with the rows of its objects in ascending order."""
    rows: dict[Kind, list[int]] = {}
    for row, item in enumerate(scene.objects):
        full = (item.size, item.texture, item.colour, item.shape)
        for kept in product((True, False), repeat=4):
            kind = Kind(*(value if keep else None for value, keep in zip(full, kept, strict=True)))
            rows.setdefault(kind, []).append(row)
    return {kind: tuple(found) for kind, found in rows.items()}


def unique_kinds(index: KindIndex) -> dict[int, list[Kind]]:
    """For each row that can be singled out, the kinds that fit it and no other object of the picture."""
    kinds: dict[int, list[Kind]] = {}
    for kind, rows in index.items():
        if len(rows) == 1 and kind != ANYTHING:
            kinds.setdefault(rows[0], []).append(kind)
    return kinds


def relation(a: SceneObject, b: SceneObject) -> str | None:
    """How a lies to b: "left of", "right of", "above" or "below" if one of them is plainly so, else None."""
    dx, dy = a.centre[0] - b.centre[0], a.centre[1] - b.centre[1]
    if abs(dx) >= _CLEARLY_PX and abs(dy) <= 0.75 * abs(dx):
        return "left of" if dx < 0 else "right of"
    if abs(dy) >= _CLEARLY_PX and abs(dx) <= 0.75 * abs(dy):
        return "above" if dy < 0 else "below"
    return None


def next_to(a: SceneObject, b: SceneObject) -> bool:
    """Whether the boxes of the two touch or nearly do."""
    gap_x = max(a.box[0] - b.box[2], b.box[0] - a.box[2], 0.0)
    gap_y = max(a.box[1] - b.box[3], b.box[1] - a.box[3], 0.0)
    return (gap_x**2 + gap_y**2) ** 0.5 <= _NEAR_PX


def objects_towards(scene: Scene, row: int, side: str) -> list[int]:
    """Rows of all objects whose centre lies on that side ("left of", …) of the given one's, by however little."""
    axis = 0 if side in ("left of", "right of") else 1
    sign = -1 if side in ("left of", "above") else 1
    here = scene.objects[row].centre[axis]
    return [other for other, item in enumerate(scene.objects) if other != row and sign * (item.centre[axis] - here) > 0]


def adjectives(kind: Kind, rng: np.random.Generator | None = None) -> list[str]:
    """The words for a kind before its noun. With a generator the wording and the order vary."""
    size = [_pick(SIZE_WORDS[kind.size], rng)] if kind.size else []
    texture = [_pick(TEXTURE_WORDS[kind.texture], rng)] if kind.texture else []
    colour = [kind.colour] if kind.colour else []
    swapped = rng is not None and rng.random() < 0.4
    return [*size, *colour, *texture] if swapped else [*size, *texture, *colour]


def noun(kind: Kind, *, plural: bool = False, other: str = "shape") -> str:
    """The noun for a kind; `other` ("shape" or "object") where the shape is left open."""
    word = kind.shape or other
    return SHAPE_PLURALS[word] if plural else word


def with_article(words: Sequence[str]) -> list[str]:
    """The words with "a" or "an" in front."""
    return ["an" if words[0][0] in "aeiou" else "a", *words]


def the_kind(kind: Kind) -> str:
    """The kind as one known thing: "the large red star"."""
    return " ".join(["the", *adjectives(kind), noun(kind)])


def a_kind(kind: Kind) -> str:
    """The kind as any one thing: "an orange star"."""
    return " ".join(with_article([*adjectives(kind), noun(kind)]))


def many_of(kind: Kind) -> str:
    """The kind as several things: "large red stars"."""
    return " ".join([*adjectives(kind), noun(kind, plural=True)])


def _pick(words: Sequence[str], rng: np.random.Generator | None) -> str:
    """The usual word, or now and then another one for the same."""
    if rng is None or len(words) == 1 or rng.random() < 0.65:
        return words[0]
    return words[1 + int(rng.integers(len(words) - 1))]
