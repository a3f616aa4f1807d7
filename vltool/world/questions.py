"""Questions about the generated world: what can be asked of a picture, the one right answer, and the wording.

A `Query` is a question before it is put into words. The same query can be put to many pictures and has other answers
there, which is what `pairs.py` builds its complementary pairs from. One query, its wordings and its answer:

    Query("colour", (Kind(shape="star"),))   "What color is the star?"   "red" where the picture has one star, a red one
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, product
from typing import NamedTuple

from vltool.world.phrases import (
    ANYTHING,
    NUMBER_WORDS,
    OPPOSITES,
    Kind,
    KindIndex,
    adjectives,
    index_kinds,
    noun,
    objects_towards,
    relation,
    unique_kinds,
    with_article,
)
from vltool.world.scene import BACKGROUNDS, COLOURS, SHAPES, SIZES, TEXTURES, Scene

# The official question types (the first words of a question) that this world's questions begin with.
QUESTION_TYPES = (
    "are the",
    "are there",
    "are there any",
    "can you",
    "do you",
    "how many",
    "is",
    "is the",
    "is there",
    "is there a",
    "is this",
    "is this a",
    "what",
    "what color is the",
    "what color are the",
    "what is the",
    "what kind of",
    "what is the color of the",
    "which",
)
ANSWER_TYPES = ("yes/no", "number", "other")
NUMBERS = tuple(str(number) for number in range(9))


class Query(NamedTuple):
    """What is asked: the family, the kinds of object it speaks of, and further values (an attribute, a side, …)."""

    family: str
    kinds: tuple[Kind, ...] = ()
    values: tuple[str, ...] = ()


Asked = Iterator[tuple[Query, str]]


class View:
    """A scene with what is looked up in it again and again."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.index: KindIndex = index_kinds(scene)

    def count(self, kind: Kind) -> int:
        """How many objects of a kind the picture has."""
        return len(self.index.get(kind, ()))

    @cached_property
    def unique(self) -> list[tuple[Kind, int]]:
        """Short names for single objects, at most two attributes besides the noun, each with its row."""
        return [
            (kind, row)
            for row, kinds in unique_kinds(self.index).items()
            for kind in kinds
            if kind.num_attributes - (kind.shape is not None) <= 2
        ]

    @cached_property
    def plain_names(self) -> list[tuple[Kind, int]]:
        """Names for single objects by shape and at most one more attribute."""
        return [(kind, row) for kind, row in self.unique if kind.shape and kind.num_attributes <= 2]


@dataclass(frozen=True)
class Family:
    """One way of asking. `share` is its weight among all questions, `answers` every answer it can have."""

    name: str
    answer_type: str
    share: float
    answers: tuple[str, ...]
    ask: Callable[[View], Asked]
    word: Callable[[Query], tuple[str, ...]]


def ask_everything(view: View) -> Iterator[tuple[Family, Query, str]]:
    """All questions of all families that have exactly one right answer on this picture, with the answer."""
    for family in FAMILIES.values():
        for query, answer in family.ask(view):
            yield family, query, answer


def question_type(question: str) -> str:
    """The official type of a question: the longest of its first words that is in the official list."""
    words = question.lower().rstrip("?").split()
    for length in range(len(words), 0, -1):
        if (start := " ".join(words[:length])) in QUESTION_TYPES:
            return start
    return "none of the above"


def _yes(truth: bool) -> str:
    return "yes" if truth else "no"


def _the(kind: Kind) -> str:
    return " ".join(["the", *adjectives(kind), noun(kind)])


def _a(kind: Kind) -> str:
    return " ".join(with_article([*adjectives(kind), noun(kind)]))


def _many(kind: Kind) -> str:
    return " ".join([*adjectives(kind), noun(kind, plural=True)])


# Yes or no


_EXISTENCE_KINDS = (
    [Kind(colour=colour, shape=shape) for colour, shape in product(COLOURS, SHAPES)]
    + [Kind(texture=texture, shape=shape) for texture, shape in product(TEXTURES[1:], SHAPES)]
    + [Kind(size=size, shape=shape) for size, shape in product(SIZES, SHAPES)]
    + [Kind(texture=texture, colour=colour) for texture, colour in product(TEXTURES[1:], COLOURS)]
    + [Kind(size=size, colour=colour, shape=shape) for size, colour, shape in product(SIZES, COLOURS, SHAPES)]
)


def _ask_existence(view: View) -> Asked:
    for kind in _EXISTENCE_KINDS:
        yield Query("existence", (kind,)), _yes(kind in view.index)


def _word_existence(query: Query) -> tuple[str, ...]:
    (kind,) = query.kinds
    return (
        f"Is there {_a(kind)}?",
        f"Is there {_a(kind)} in the picture?",
        f"Are there any {_many(kind)}?",
        f"Can you see {_a(kind)}?",
        f"Do you see {_a(kind)}?",
    )


def _ask_attribute(view: View) -> Asked:
    for kind, row in view.unique:
        item = view.scene.objects[row]
        if kind.colour is None and kind.shape:
            for colour in COLOURS:
                yield Query("attribute", (kind,), (colour,)), _yes(item.colour == colour)
        if kind.texture is None and kind.shape:
            for texture in TEXTURES:
                yield Query("attribute", (kind,), (texture,)), _yes(item.texture == texture)
        if kind.size is None and kind.shape:
            for size in SIZES:
                yield Query("attribute", (kind,), (size,)), _yes(item.size == size)


def _word_attribute(query: Query) -> tuple[str, ...]:
    return (f"Is {_the(query.kinds[0])} {query.values[0]}?",)


_COMPARED = [(Kind(shape=a), Kind(shape=b)) for a, b in combinations(SHAPES, 2)] + [
    (Kind(colour=a), Kind(colour=b)) for a, b in combinations(COLOURS, 2)
]


def _ask_comparison(view: View) -> Asked:
    for pair in _COMPARED:
        for a, b in (pair, pair[::-1]):
            if view.count(a) and view.count(b):
                yield Query("comparison", (a, b), ("more",)), _yes(view.count(a) > view.count(b))


def _word_comparison(query: Query) -> tuple[str, ...]:
    a, b = query.kinds
    return (f"Are there more {_many(a)} than {_many(b)}?",)


def _ask_exact_count(view: View) -> Asked:
    for kind in [Kind(shape=shape) for shape in SHAPES] + [Kind(colour=colour) for colour in COLOURS]:
        for number in (2, 3):
            yield Query("exact count", (kind,), (NUMBER_WORDS[number],)), _yes(view.count(kind) == number)


def _word_exact_count(query: Query) -> tuple[str, ...]:
    return (f"Are there exactly {query.values[0]} {_many(query.kinds[0])}?",)


_PLACES = {
    "wood": "on a wooden table",
    "brick": "in front of a brick wall",
    "grass": "on the grass",
    "sand": "on the sand",
    "tile": "on a tiled floor",
    "water": "on the water",
    "sky": "in front of the sky",
    "carpet": "on a carpet",
}


def _ask_place(view: View) -> Asked:
    for background in BACKGROUNDS:
        yield Query("place", (), (background,)), _yes(view.scene.background == background)


def _word_place(query: Query) -> tuple[str, ...]:
    return (f"Are the shapes {_PLACES[query.values[0]]}?", f"Is this {_PLACES[query.values[0]]}?")


def _ask_side(view: View) -> Asked:
    objects = view.scene.objects
    coloured = [(kind, row) for kind, row in view.plain_names if kind.colour]
    for (a, row_a), (b, row_b) in product(coloured, repeat=2):
        if row_a != row_b and (side := relation(objects[row_a], objects[row_b])):
            yield Query("side", (a, b), (side,)), "yes"
            yield Query("side", (a, b), (OPPOSITES[side],)), "no"


def _word_side(query: Query) -> tuple[str, ...]:
    a, b = query.kinds
    return (f"Is {_the(a)} {query.values[0]} {_the(b)}?",)


# Numbers


_COUNTED_KINDS = (
    [ANYTHING]
    + [Kind(shape=shape) for shape in SHAPES]
    + [Kind(colour=colour) for colour in COLOURS]
    + [Kind(size=size) for size in SIZES]
    + [Kind(texture=texture) for texture in TEXTURES[1:]]
    + [Kind(colour=colour, shape=shape) for colour, shape in product(COLOURS, SHAPES)]
    + [Kind(size=size, shape=shape) for size, shape in product(SIZES, SHAPES)]
)


def _ask_count(view: View) -> Asked:
    for kind in _COUNTED_KINDS:
        yield Query("count", (kind,)), str(view.count(kind))


def _word_count(query: Query) -> tuple[str, ...]:
    many = _many(query.kinds[0])
    return (f"How many {many} are there?", f"How many {many} are in the picture?", f"How many {many} can you see?")


# Other answers


def _ask_colour(view: View) -> Asked:
    for kind, row in view.unique:
        if kind.colour is None and kind.shape:
            yield Query("colour", (kind,)), view.scene.objects[row].colour


def _word_colour(query: Query) -> tuple[str, ...]:
    kind = query.kinds[0]
    return (f"What color is {_the(kind)}?", f"What is the color of {_the(kind)}?")


def _ask_group_colour(view: View) -> Asked:
    for kind, rows in view.index.items():
        if len(rows) > 1 and kind.shape and kind.colour is None and kind.num_attributes <= 2:
            colours = {view.scene.objects[row].colour for row in rows}
            if len(colours) == 1:
                yield Query("group colour", (kind,)), colours.pop()


def _word_group_colour(query: Query) -> tuple[str, ...]:
    return (f"What color are the {_many(query.kinds[0])}?",)


def _ask_either_colour(view: View) -> Asked:
    for kind, row in view.unique:
        if kind.colour is None and kind.shape and kind.num_attributes <= 2:
            colour = view.scene.objects[row].colour
            for other in COLOURS:
                if other != colour:
                    first, second = sorted((colour, other), key=COLOURS.index)
                    yield Query("either colour", (kind,), (first, second)), colour


def _word_either_colour(query: Query) -> tuple[str, ...]:
    return (f"Is {_the(query.kinds[0])} {query.values[0]} or {query.values[1]}?",)


def _ask_shape(view: View) -> Asked:
    for kind, row in view.unique:
        if kind.shape is None:
            yield Query("shape", (kind,)), view.scene.objects[row].shape


def _word_shape(query: Query) -> tuple[str, ...]:
    named = " ".join(["the", *adjectives(query.kinds[0]), "object"])
    return (f"What shape is {named}?", f"Which shape is {named}?", f"What is {named}?")


def _ask_pattern(view: View) -> Asked:
    for kind, row in view.unique:
        if kind.texture is None and kind.shape:
            yield Query("pattern", (kind,)), view.scene.objects[row].texture


def _word_pattern(query: Query) -> tuple[str, ...]:
    kind = query.kinds[0]
    return (f"What kind of pattern does {_the(kind)} have?", f"What pattern is on {_the(kind)}?")


def _ask_size(view: View) -> Asked:
    for kind, row in view.unique:
        if kind.size is None and kind.shape:
            yield Query("size", (kind,)), view.scene.objects[row].size


def _word_size(query: Query) -> tuple[str, ...]:
    return (f"What size is {_the(query.kinds[0])}?",)


def _ask_background(view: View) -> Asked:
    yield Query("background"), view.scene.background


def _word_background(_: Query) -> tuple[str, ...]:
    return ("What is behind the shapes?", "What is the background?", "What is in the background?")


def _neighbours(view: View) -> Iterator[tuple[Kind, str, int]]:
    """Objects that are alone on one side of a named one: the name, the side, the row of the object there."""
    objects = view.scene.objects
    for kind, row in view.plain_names:
        for side in OPPOSITES:
            there = objects_towards(view.scene, row, side)
            if len(there) == 1 and relation(objects[there[0]], objects[row]) == side:
                yield kind, side, there[0]


def _ask_neighbour_colour(view: View) -> Asked:
    for kind, side, row in _neighbours(view):
        yield Query("neighbour colour", (kind,), (side,)), view.scene.objects[row].colour


def _word_neighbour_colour(query: Query) -> tuple[str, ...]:
    return (f"What color is the shape {query.values[0]} {_the(query.kinds[0])}?",)


def _ask_neighbour_shape(view: View) -> Asked:
    for kind, side, row in _neighbours(view):
        yield Query("neighbour shape", (kind,), (side,)), view.scene.objects[row].shape


def _word_neighbour_shape(query: Query) -> tuple[str, ...]:
    return (f"What is {query.values[0]} {_the(query.kinds[0])}?",)


_YES_NO = ("yes", "no")
# Shares follow VQA v2's mix of answer types (38 % yes/no, 12 % number, 50 % other), with more to count.
# Questions about sides stay few: region features do not tell where a region is.
FAMILIES = {
    family.name: family
    for family in (
        Family("existence", "yes/no", 15, _YES_NO, _ask_existence, _word_existence),
        Family("attribute", "yes/no", 13, _YES_NO, _ask_attribute, _word_attribute),
        Family("comparison", "yes/no", 5, _YES_NO, _ask_comparison, _word_comparison),
        Family("exact count", "yes/no", 2, _YES_NO, _ask_exact_count, _word_exact_count),
        Family("place", "yes/no", 2, _YES_NO, _ask_place, _word_place),
        Family("side", "yes/no", 2, _YES_NO, _ask_side, _word_side),
        Family("count", "number", 15, NUMBERS, _ask_count, _word_count),
        Family("colour", "other", 15, COLOURS, _ask_colour, _word_colour),
        Family("group colour", "other", 2, COLOURS, _ask_group_colour, _word_group_colour),
        Family("either colour", "other", 3, COLOURS, _ask_either_colour, _word_either_colour),
        Family("shape", "other", 10, SHAPES, _ask_shape, _word_shape),
        Family("pattern", "other", 8, TEXTURES, _ask_pattern, _word_pattern),
        Family("size", "other", 2, SIZES, _ask_size, _word_size),
        Family("background", "other", 3, BACKGROUNDS, _ask_background, _word_background),
        Family("neighbour colour", "other", 2, COLOURS, _ask_neighbour_colour, _word_neighbour_colour),
        Family("neighbour shape", "other", 1, SHAPES, _ask_neighbour_shape, _word_neighbour_shape),
    )
}
