"""Statements about two pictures, as NLVR2 makes them: each can be checked in any pair of scenes.

Statement("left has", Kind(colour="red", shape="star"))  "The left image shows a red star."
Statement("left number", Kind(shape="circle"), 3)     "There are exactly three circles in the left image."
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

from vltool.world.phrases import NUMBER_WORDS, Kind, a_kind, many_of
from vltool.world.queries import View
from vltool.world.scene import COLOURS, SHAPES, SIZES, TEXTURES

_MOST = 4  # the highest number that is spoken of


class Statement(NamedTuple):
    """A statement before it is put into words: its form, the kind of object it is about, and a number (0: none)."""

    form: str
    kind: Kind
    number: int = 0


@dataclass(frozen=True)
class Form:
    """How a kind of statement is checked, from the counts in the left and the right picture, and worded.

    share: its weight among all statements. counts: whether it names a number. simple: whether its kinds have few
    attributes, so that numbers are worth asking for.
    """

    share: float
    counts: bool
    simple: bool
    holds: Callable[[int, int, int], bool]
    word: Callable[[Statement], tuple[str, ...]]


def is_true(statement: Statement, left: View, right: View) -> bool:
    """Whether the statement holds of the two pictures."""
    return FORMS[statement.form].holds(left.count(statement.kind), right.count(statement.kind), statement.number)


def statements(form: str) -> Iterator[Statement]:
    """All statements of a form."""
    for kind in _SIMPLE_KINDS if FORMS[form].simple else _KINDS:
        for number in range(1, _MOST + 1) if FORMS[form].counts else (0,):
            yield Statement(form, kind, number)


def _exactly(statement: Statement) -> str:
    """ "exactly one star", "exactly three red stars" """
    if statement.number == 1:
        return f"exactly one {a_kind(statement.kind).split(' ', 1)[1]}"
    return f"exactly {NUMBER_WORDS[statement.number]} {many_of(statement.kind)}"


def _is_or_are(statement: Statement) -> str:
    return "is" if statement.number == 1 else "are"


_SIMPLE_KINDS = [Kind(shape=shape) for shape in SHAPES] + [Kind(colour=colour) for colour in COLOURS]
_KINDS = (
    _SIMPLE_KINDS
    + [Kind(colour=colour, shape=shape) for colour, shape in product(COLOURS, SHAPES)]
    + [Kind(texture=texture, shape=shape) for texture, shape in product(TEXTURES[1:], SHAPES)]
    + [Kind(size=size, shape=shape) for size, shape in product(SIZES, SHAPES)]
)
FORMS = {
    "left has": Form(
        20, False, False, lambda left, _, __: left > 0,
        lambda s: (f"The left image shows {a_kind(s.kind)}.", f"There is {a_kind(s.kind)} in the left image."),
    ),
    "right has": Form(
        20, False, False, lambda _, right, __: right > 0,
        lambda s: (f"The right image shows {a_kind(s.kind)}.", f"There is {a_kind(s.kind)} in the image on the right."),
    ),
    "left lacks": Form(
        6, False, True, lambda left, _, __: left == 0,
        lambda s: (f"There are no {many_of(s.kind)} in the left image.",),
    ),
    "right lacks": Form(
        6, False, True, lambda _, right, __: right == 0,
        lambda s: (f"There are no {many_of(s.kind)} in the right image.",),
    ),
    "some": Form(
        14, False, False, lambda left, right, _: left > 0 or right > 0,
        lambda s: (f"At least one image shows {a_kind(s.kind)}.", f"There is {a_kind(s.kind)} in one of the images."),
    ),
    "both": Form(
        10, False, True, lambda left, right, _: left > 0 and right > 0,
        lambda s: (f"Both images show {a_kind(s.kind)}.", f"Each image contains {a_kind(s.kind)}."),
    ),
    "one alone": Form(
        6, False, True, lambda left, right, _: (left > 0) != (right > 0),
        lambda s: (f"Only one of the two images shows {a_kind(s.kind)}.",),
    ),
    "left number": Form(
        6, True, True, lambda left, _, number: left == number,
        lambda s: (f"There {_is_or_are(s)} {_exactly(s)} in the left image.",),
    ),
    "right number": Form(
        6, True, True, lambda _, right, number: right == number,
        lambda s: (f"There {_is_or_are(s)} {_exactly(s)} in the right image.",),
    ),
    "more": Form(
        6, False, True, lambda left, right, _: left > right,
        lambda s: (f"There are more {many_of(s.kind)} in the left image than in the right image.",),
    ),
}  # fmt: skip
