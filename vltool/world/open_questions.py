"""Questions answered by a number or by a word: each `ask_…` gives what can be asked, each `word_…` its wordings."""

from collections.abc import Iterator
from itertools import product

from vltool.world.phrases import ANYTHING, OPPOSITES, Kind, adjectives, many_of, objects_towards, relation, the_kind
from vltool.world.queries import Asked, Query, View
from vltool.world.scene import COLOURS, SHAPES, SIZES, TEXTURES

_COUNTED_KINDS = (
    [ANYTHING]
    + [Kind(shape=shape) for shape in SHAPES]
    + [Kind(colour=colour) for colour in COLOURS]
    + [Kind(size=size) for size in SIZES]
    + [Kind(texture=texture) for texture in TEXTURES[1:]]
    + [Kind(colour=colour, shape=shape) for colour, shape in product(COLOURS, SHAPES)]
    + [Kind(size=size, shape=shape) for size, shape in product(SIZES, SHAPES)]
)


def ask_count(view: View) -> Asked:
    for kind in _COUNTED_KINDS:
        yield Query("count", (kind,)), str(view.count(kind))


def word_count(query: Query) -> tuple[str, ...]:
    many = many_of(query.kinds[0])
    return (f"How many {many} are there?", f"How many {many} are in the picture?", f"How many {many} can you see?")


def ask_colour(view: View) -> Asked:
    for kind, row in view.unique:
        if kind.colour is None and kind.shape:
            yield Query("colour", (kind,)), view.scene.objects[row].colour


def word_colour(query: Query) -> tuple[str, ...]:
    kind = query.kinds[0]
    return (f"What color is {the_kind(kind)}?", f"What is the color of {the_kind(kind)}?")


def ask_group_colour(view: View) -> Asked:
    for kind, rows in view.index.items():
        if len(rows) > 1 and kind.shape and kind.colour is None and kind.num_attributes <= 2:
            colours = {view.scene.objects[row].colour for row in rows}
            if len(colours) == 1:
                yield Query("group colour", (kind,)), colours.pop()


def word_group_colour(query: Query) -> tuple[str, ...]:
    return (f"What color are the {many_of(query.kinds[0])}?",)


def ask_either_colour(view: View) -> Asked:
    for kind, row in view.unique:
        if kind.colour is None and kind.shape and kind.num_attributes <= 2:
            colour = view.scene.objects[row].colour
            for other in COLOURS:
                if other != colour:
                    first, second = sorted((colour, other), key=COLOURS.index)
                    yield Query("either colour", (kind,), (first, second)), colour


def word_either_colour(query: Query) -> tuple[str, ...]:
    return (f"Is {the_kind(query.kinds[0])} {query.values[0]} or {query.values[1]}?",)


def ask_shape(view: View) -> Asked:
    for kind, row in view.unique:
        if kind.shape is None:
            yield Query("shape", (kind,)), view.scene.objects[row].shape


def word_shape(query: Query) -> tuple[str, ...]:
    named = " ".join(["the", *adjectives(query.kinds[0]), "object"])
    return (f"What shape is {named}?", f"Which shape is {named}?", f"What is {named}?")


def ask_pattern(view: View) -> Asked:
    for kind, row in view.unique:
        if kind.texture is None and kind.shape:
            yield Query("pattern", (kind,)), view.scene.objects[row].texture


def word_pattern(query: Query) -> tuple[str, ...]:
    kind = query.kinds[0]
    return (f"What kind of pattern does {the_kind(kind)} have?", f"What pattern is on {the_kind(kind)}?")


def ask_size(view: View) -> Asked:
    for kind, row in view.unique:
        if kind.size is None and kind.shape:
            yield Query("size", (kind,)), view.scene.objects[row].size


def word_size(query: Query) -> tuple[str, ...]:
    return (f"What size is {the_kind(query.kinds[0])}?",)


def ask_background(view: View) -> Asked:
    yield Query("background"), view.scene.background


def word_background(_: Query) -> tuple[str, ...]:
    return ("What is behind the shapes?", "What is the background?", "What is in the background?")


def _neighbours(view: View) -> Iterator[tuple[Kind, str, int]]:
    """Objects that are alone on one side of a named one: the name, the side, the row of the object there."""
    objects = view.scene.objects
    for kind, row in view.plain_names:
        for side in OPPOSITES:
            there = objects_towards(view.scene, row, side)
            if len(there) == 1 and relation(objects[there[0]], objects[row]) == side:
                yield kind, side, there[0]


def ask_neighbour_colour(view: View) -> Asked:
    for kind, side, row in _neighbours(view):
        yield Query("neighbour colour", (kind,), (side,)), view.scene.objects[row].colour


def word_neighbour_colour(query: Query) -> tuple[str, ...]:
    return (f"What color is the shape {query.values[0]} {the_kind(query.kinds[0])}?",)


def ask_neighbour_shape(view: View) -> Asked:
    for kind, side, row in _neighbours(view):
        yield Query("neighbour shape", (kind,), (side,)), view.scene.objects[row].shape


def word_neighbour_shape(query: Query) -> tuple[str, ...]:
    return (f"What is {query.values[0]} {the_kind(query.kinds[0])}?",)
