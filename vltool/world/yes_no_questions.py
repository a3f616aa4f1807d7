"""Questions answered by yes or no: each `ask_…` gives what can be asked of a picture, each `word_…` its wordings."""

from itertools import combinations, product

from vltool.world.phrases import NUMBER_WORDS, OPPOSITES, Kind, a_kind, many_of, relation, the_kind
from vltool.world.queries import Asked, Query, View
from vltool.world.scene import BACKGROUNDS, COLOURS, SHAPES, SIZES, TEXTURES


def _yes(truth: bool) -> str:
    return "yes" if truth else "no"


_EXISTENCE_KINDS = (
    [Kind(colour=colour, shape=shape) for colour, shape in product(COLOURS, SHAPES)]
    + [Kind(texture=texture, shape=shape) for texture, shape in product(TEXTURES[1:], SHAPES)]
    + [Kind(size=size, shape=shape) for size, shape in product(SIZES, SHAPES)]
    + [Kind(texture=texture, colour=colour) for texture, colour in product(TEXTURES[1:], COLOURS)]
    + [Kind(size=size, colour=colour, shape=shape) for size, colour, shape in product(SIZES, COLOURS, SHAPES)]
)


def ask_existence(view: View) -> Asked:
    for kind in _EXISTENCE_KINDS:
        yield Query("existence", (kind,)), _yes(kind in view.index)


def word_existence(query: Query) -> tuple[str, ...]:
    (kind,) = query.kinds
    return (
        f"Is there {a_kind(kind)}?",
        f"Is there {a_kind(kind)} in the picture?",
        f"Are there any {many_of(kind)}?",
        f"Can you see {a_kind(kind)}?",
        f"Do you see {a_kind(kind)}?",
    )


def ask_attribute(view: View) -> Asked:
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


def word_attribute(query: Query) -> tuple[str, ...]:
    return (f"Is {the_kind(query.kinds[0])} {query.values[0]}?",)


_COMPARED = [(Kind(shape=a), Kind(shape=b)) for a, b in combinations(SHAPES, 2)] + [
    (Kind(colour=a), Kind(colour=b)) for a, b in combinations(COLOURS, 2)
]


def ask_comparison(view: View) -> Asked:
    for pair in _COMPARED:
        for a, b in (pair, pair[::-1]):
            if view.count(a) and view.count(b):
                yield Query("comparison", (a, b), ("more",)), _yes(view.count(a) > view.count(b))


def word_comparison(query: Query) -> tuple[str, ...]:
    a, b = query.kinds
    return (f"Are there more {many_of(a)} than {many_of(b)}?",)


def ask_exact_count(view: View) -> Asked:
    for kind in [Kind(shape=shape) for shape in SHAPES] + [Kind(colour=colour) for colour in COLOURS]:
        for number in (2, 3):
            yield Query("exact count", (kind,), (NUMBER_WORDS[number],)), _yes(view.count(kind) == number)


def word_exact_count(query: Query) -> tuple[str, ...]:
    return (f"Are there exactly {query.values[0]} {many_of(query.kinds[0])}?",)


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


def ask_place(view: View) -> Asked:
    for background in BACKGROUNDS:
        yield Query("place", (), (background,)), _yes(view.scene.background == background)


def word_place(query: Query) -> tuple[str, ...]:
    return (f"Are the shapes {_PLACES[query.values[0]]}?", f"Is this {_PLACES[query.values[0]]}?")


def ask_side(view: View) -> Asked:
    objects = view.scene.objects
    coloured = [(kind, row) for kind, row in view.plain_names if kind.colour]
    for (a, row_a), (b, row_b) in product(coloured, repeat=2):
        if row_a != row_b and (side := relation(objects[row_a], objects[row_b])):
            yield Query("side", (a, b), (side,)), "yes"
            yield Query("side", (a, b), (OPPOSITES[side],)), "no"


def word_side(query: Query) -> tuple[str, ...]:
    a, b = query.kinds
    return (f"Is {the_kind(a)} {query.values[0]} {the_kind(b)}?",)
