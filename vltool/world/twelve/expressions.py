"""Referring expressions of the generated world: words that fit one object of a picture and no other.

Three ways of speaking, as in RefCOCO ("left red star"), RefCOCO+ ("small striped star", no word of place) and
RefCOCOg ("the small striped star that is left of the blue circle"). An expression of place is used only where the
place is plain: what is called the left one of several is at least 22 pixels further left than the next.
"""

from collections.abc import Iterator

import numpy as np

from vltool.world.phrases import Kind, adjectives, noun, objects_towards, relation, unique_kinds
from vltool.world.queries import View

CLEARLY_PX = 22.0
_LEAST_NAMED = 2  # attributes, the shape among them, that a plain name has
_SIDES = {"left": (0, -1), "right": (0, 1), "top": (1, -1), "bottom": (1, 1)}  # axis and direction of the picture
_EXTREMES = {"left": "leftmost", "right": "rightmost", "top": "topmost", "bottom": "bottommost"}


def extreme(view: View, rows: tuple[int, ...], side: str) -> int | None:
    """The row of the object that lies plainly furthest to that side ("left", "right", "top", "bottom"), or None."""
    axis, sign = _SIDES[side]
    order = sorted(rows, key=lambda row: -sign * view.scene.objects[row].centre[axis])
    if len(order) < 2:
        return None
    first, second = (view.scene.objects[row].centre[axis] for row in order[:2])
    return order[0] if abs(first - second) >= CLEARLY_PX else None


class Expressions:
    """What can be said of the objects of one picture."""

    def __init__(self, view: View) -> None:
        self.view = view
        names = unique_kinds(view.index)
        self.names = {
            row: [kind for kind in kinds if kind.num_attributes >= _LEAST_NAMED] for row, kinds in names.items()
        }

    def referred(self) -> list[int]:
        """Rows of the objects that have another of their shape beside them: the ones worth singling out."""
        shapes = [item.shape for item in self.view.scene.objects]
        return [row for row, shape in enumerate(shapes) if shapes.count(shape) > 1]

    def without_place(self, row: int, rng: np.random.Generator) -> str | None:
        """By attributes alone: "red striped star"; None if others have them all."""
        kind = self._name(row, rng)
        return None if kind is None else " ".join(_words(kind, rng))

    def by_place(self, row: int, rng: np.random.Generator) -> str | None:
        """By the side of the picture that the object is on, among those of its kind: "left star", "star on right"."""
        found = list(self._places(row))
        if not found:
            return None
        kind, side = found[int(rng.integers(len(found)))]
        words = _words(kind, rng)
        forms = (f"{side} {' '.join(words)}", f"{' '.join(words)} on {side}", f"{' '.join(words)} on the {side}")
        return forms[int(rng.integers(len(forms)))]

    def long(self, row: int, rng: np.random.Generator) -> str | None:
        """In a whole phrase, by another object it lies to, by place, or by all its attributes."""
        ways = [self._related, self._extreme_one, self._described]
        for place in rng.permutation(len(ways)).tolist():
            said = ways[place](row, rng)
            if said is not None:
                return said
        return None

    def _name(self, row: int, rng: np.random.Generator) -> Kind | None:
        """A kind that only this object is of, the shape sooner said than not."""
        kinds = self.names.get(row, [])
        if not kinds:
            return None
        weights = np.array([(3.0 if kind.shape else 1.0) / kind.num_attributes for kind in kinds])
        return kinds[int(rng.choice(len(kinds), p=weights / weights.sum()))]

    def _places(self, row: int) -> Iterator[tuple[Kind, str]]:
        """Kinds of several objects of which this one lies furthest to a side; the kind names the shape."""
        for kind, rows in self.view.index.items():
            if row in rows and len(rows) > 1 and kind.shape and kind.num_attributes <= 2:
                yield from ((kind, side) for side in _SIDES if extreme(self.view, rows, side) == row)

    def _related(self, row: int, rng: np.random.Generator) -> str | None:
        """The red star that is left of the small circle."""
        objects = self.view.scene.objects
        found = []
        for anchor, kinds in self.names.items():
            side = relation(objects[row], objects[anchor]) if anchor != row else None
            if side is None:
                continue
            there = set(objects_towards(self.view.scene, anchor, side))
            for kind, rows in self.view.index.items():
                fits = row in rows and anchor not in rows and kind.shape and kind.num_attributes <= 2
                if fits and len(rows) > 1 and not there & (set(rows) - {row}):
                    found += [(kind, side, name) for name in kinds if name.shape and name.num_attributes <= 2]
        if not found:
            return None
        kind, side, anchor_name = found[int(rng.integers(len(found)))]
        where = f"to the {side}" if side in ("left of", "right of") and rng.random() < 0.5 else side
        return f"the {' '.join(_words(kind, rng))} that is {where} the {' '.join(_words(anchor_name, rng))}"

    def _extreme_one(self, row: int, rng: np.random.Generator) -> str | None:
        """The leftmost of the three red stars."""
        found = list(self._places(row))
        if not found:
            return None
        kind, side = found[int(rng.integers(len(found)))]
        many = " ".join([*adjectives(kind, rng), noun(kind, plural=True)])
        return f"the {_EXTREMES[side]} one of the {many} in the picture"

    def _described(self, row: int, rng: np.random.Generator) -> str | None:
        """A star which is small , red and striped."""
        item = self.view.scene.objects[row]
        if self.view.count(Kind(item.size, item.texture, item.colour, item.shape)) > 1:
            return None
        values = [item.size, item.colour, item.texture]
        first, second, third = (values[place] for place in rng.permutation(3).tolist())
        return f"the {item.shape} which is {first} , {second} and {third}"


def _words(kind: Kind, rng: np.random.Generator) -> list[str]:
    return [*adjectives(kind, rng), noun(kind, other="object" if rng.random() < 0.5 else "shape")]
