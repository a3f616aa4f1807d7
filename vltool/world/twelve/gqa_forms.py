"""What GQA asks of the generated world: its forms of questions, their types, and what an answer entails.

A form is one way of asking, as GQA's grammar has them (Hudson and Manning 2019, section 3.3 and table 1). One form's
question, its answer and one of the questions that the answer entails:

    Query("colour", (Kind(shape="star"),))   "What color is the star?"   "red"
    Query("attribute", (Kind(shape="star"),), ("red",))   "Is the star red?"   "yes"
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations, product

from vltool.world import open_questions as open_
from vltool.world import yes_no_questions as binary
from vltool.world.phrases import OPPOSITES, Kind, a_kind, adjectives, many_of, noun, relation, the_kind
from vltool.world.queries import Asked, Query, View
from vltool.world.scene import BACKGROUNDS, COLOURS, SHAPES, SIZES, TEXTURES

Entailed = tuple[Query, str]
RELATIONS = {"left of": "to the left of", "right of": "to the right of", "above": "above", "below": "below"}
RELATION_ANSWERS = {"left of": "left", "right of": "right", "above": "above", "below": "below"}
_OPPOSED = (("left of", "right of"), ("above", "below"))
_YES_NO = ("yes", "no")
_SAME = {"colour": "color", "texture": "pattern", "size": "size"}


@dataclass(frozen=True)
class Form:
    """One form of question.

    structural, semantic, detailed: GQA's types of it. group: of open questions, what the answers have in common, else
    "". answers: every answer it can have. share: its weight among all questions.
    """

    structural: str
    semantic: str
    detailed: str
    group: str
    share: float
    answers: tuple[str, ...]
    ask: Callable[[View], Asked]
    word: Callable[[Query], tuple[str, ...]]
    full_answer: Callable[[Query, str], str]


def attribute_of(value: str) -> str:
    """Which attribute a value is of: "colour", "texture", "size" or "shape"."""
    for name, values in (("colour", COLOURS), ("texture", TEXTURES), ("size", SIZES), ("shape", SHAPES)):
        if value in values:
            return name
    raise AssertionError(f"{value!r} is no attribute's value")


def entails(query: Query, answer: str) -> list[Entailed]:
    """Further questions that the answer to this one answers too."""
    kinds, values = query.kinds, query.values
    if query.family in ("colour", "texture", "size"):
        return [
            (Query("attribute", kinds, (answer,)), "yes"),
            (Query("existence", (_with(kinds[0], answer),)), "yes"),
        ]
    if query.family in ("shape", "neighbour"):
        return [(Query("existence", (_with(kinds[0] if query.family == "shape" else Kind(), answer),)), "yes")]
    if query.family == "attribute":  # the kind is one object of the picture: no other can have the attribute for it
        return [(Query("existence", (_with(kinds[0], values[0]),)), answer)]
    if query.family == "colour choice":
        other = values[values[0] == answer]
        return [(Query("attribute", kinds, (answer,)), "yes"), (Query("attribute", kinds, (other,)), "no")]
    if query.family == "existence" and answer == "yes" and kinds[0].shape and kinds[0].num_attributes > 1:
        return [(Query("existence", (Kind(shape=kinds[0].shape),)), "yes")]
    if (query.family, answer) in (("both", "yes"), ("either", "no")):
        return [(Query("existence", (kind,)), answer) for kind in kinds]
    if query.family == "side" and answer == "yes":
        return [(Query("side", kinds, (OPPOSITES[values[0]],)), "no"), _turned(query)]
    if query.family == "side choice":
        side = next(side for side in values if RELATION_ANSWERS[side] == answer)
        return [(Query("side", kinds, (side,)), "yes"), (Query("side", kinds, (OPPOSITES[side],)), "no")]
    return []


def _turned(query: Query) -> Entailed:
    """Of "is a left of b", answered yes: "is b right of a"."""
    return Query("side", query.kinds[::-1], (OPPOSITES[query.values[0]],)), "yes"


def _with(kind: Kind, value: str) -> Kind:
    return kind._replace(**{attribute_of(value): value})


def _renamed(ask: Callable[[View], Asked], family: str) -> Callable[[View], Asked]:
    """The same questions under the family's name here."""
    return lambda view: ((query._replace(family=family), answer) for query, answer in ask(view))


_SIMPLE = [Kind(shape=shape) for shape in SHAPES] + [Kind(colour=colour) for colour in COLOURS]


def _ask_both(view: View) -> Asked:
    for pair in combinations(_SIMPLE, 2):
        yield Query("both", pair), _yes(all(kind in view.index for kind in pair))


def _ask_either(view: View) -> Asked:
    for pair in combinations(_SIMPLE, 2):
        yield Query("either", pair), _yes(any(kind in view.index for kind in pair))


def _ask_same(view: View) -> Asked:
    objects = view.scene.objects
    for (a, row_a), (b, row_b) in combinations(view.plain_names, 2):
        for attribute in _SAME:
            open_in_both = getattr(a, attribute) is None and getattr(b, attribute) is None
            if row_a != row_b and open_in_both and max(a.num_attributes, b.num_attributes) == 1:
                same = getattr(objects[row_a], attribute) == getattr(objects[row_b], attribute)
                yield Query("same", tuple(sorted((a, b), key=the_kind)), (attribute,)), _yes(same)


def _sides(view: View) -> Iterator[tuple[Kind, str, Kind]]:
    """Two single objects named by shape, or colour and shape, and how the first plainly lies to the second."""
    objects = view.scene.objects
    named = [(kind, row) for kind, row in view.plain_names if kind.num_attributes == 1 or kind.colour]
    for (a, row_a), (b, row_b) in product(named, repeat=2):
        if row_a != row_b and (side := relation(objects[row_a], objects[row_b])):
            yield a, side, b


def _ask_side(view: View) -> Asked:
    for a, side, b in _sides(view):
        yield Query("side", (a, b), (side,)), "yes"
        yield Query("side", (a, b), (OPPOSITES[side],)), "no"


def _ask_side_choice(view: View) -> Asked:
    for a, side, b in _sides(view):
        pair = next(pair for pair in _OPPOSED if side in pair)
        yield Query("side choice", (a, b), pair), RELATION_ANSWERS[side]


def _ask_place_choice(view: View) -> Asked:
    here = view.scene.background
    for other in BACKGROUNDS:
        if other != here:
            yield Query("place choice", (), tuple(sorted((here, other)))), here


def _word_attribute(query: Query) -> tuple[str, ...]:
    the, value = the_kind(query.kinds[0]), query.values[0]
    if attribute_of(value) == "texture":
        return (f"Is {the} {value}?", f"Does {the} look {value}?")
    return (f"Is {the} {value}?",)


def _word_choice(query: Query) -> tuple[str, ...]:
    return (f"Is {the_kind(query.kinds[0])} {query.values[0]} or {query.values[1]}?",)


def _word_same(query: Query) -> tuple[str, ...]:
    a, b = (the_kind(kind) for kind in query.kinds)
    word = _SAME[query.values[0]]
    return (f"Are {a} and {b} of the same {word}?", f"Do {a} and {b} have the same {word}?")


def _the_object(kind: Kind) -> str:
    return " ".join(["the", *adjectives(kind), noun(kind, other="object")])


def _yes(truth: bool) -> str:
    return "yes" if truth else "no"


def _no_not(answer: str, statement: str, negated: str) -> str:
    return f"Yes, {statement}." if answer == "yes" else f"No, {negated}."


FORMS = {
    "colour": Form(
        "query", "attr", "directOf", "color", 16, COLOURS, open_.ask_colour,
        lambda q: (f"What color is {the_kind(q.kinds[0])}?", f"Which color is {the_kind(q.kinds[0])}?"),
        lambda q, a: f"{the_kind(q.kinds[0]).capitalize()} is {a}.",
    ),
    "texture": Form(
        "query", "attr", "directWhich", "pattern", 9, TEXTURES, _renamed(open_.ask_pattern, "texture"),
        lambda q: (f"Which pattern does {the_kind(q.kinds[0])} have?", f"What pattern is on {the_kind(q.kinds[0])}?"),
        lambda q, a: f"{the_kind(q.kinds[0]).capitalize()} is {a}.",
    ),
    "size": Form(
        "query", "attr", "how", "size", 3, SIZES, open_.ask_size,
        lambda q: (f"How large is {the_kind(q.kinds[0])}?", f"What size is {the_kind(q.kinds[0])}?"),
        lambda q, a: f"{the_kind(q.kinds[0]).capitalize()} is {a}.",
    ),
    "shape": Form(
        "query", "cat", "categoryThat", "shape", 10, SHAPES, open_.ask_shape,
        lambda q: (f"What is {_the_object(q.kinds[0])}?", f"Which shape is {_the_object(q.kinds[0])}?"),
        lambda q, a: f"{_the_object(q.kinds[0]).capitalize()} is a {a}.",
    ),
    "attribute": Form(
        "verify", "attr", "verifyAttr", "", 14, _YES_NO, binary.ask_attribute, _word_attribute,
        lambda q, a: _no_not(
            a, f"{the_kind(q.kinds[0])} is {q.values[0]}", f"{the_kind(q.kinds[0])} is not {q.values[0]}"
        ),
    ),
    "existence": Form(
        "verify", "obj", "exist", "", 14, _YES_NO, binary.ask_existence,
        lambda q: (f"Is there {a_kind(q.kinds[0])} in the image?", f"Are there any {many_of(q.kinds[0])}?"),
        lambda q, a: _no_not(a, f"there is {a_kind(q.kinds[0])}", f"there are no {many_of(q.kinds[0])}"),
    ),
    "both": Form(
        "logical", "obj", "existAnd", "", 4, _YES_NO, _ask_both,
        lambda q: (f"Are there both {many_of(q.kinds[0])} and {many_of(q.kinds[1])} in the image?",),
        lambda q, a: _no_not(
            a, f"there are both {many_of(q.kinds[0])} and {many_of(q.kinds[1])}", "the image does not have both"
        ),
    ),
    "either": Form(
        "logical", "obj", "existOr", "", 4, _YES_NO, _ask_either,
        lambda q: (f"Are there any {many_of(q.kinds[0])} or {many_of(q.kinds[1])}?",),
        lambda q, a: _no_not(
            a,
            f"there are {many_of(q.kinds[0])} or {many_of(q.kinds[1])}",
            f"there are neither {many_of(q.kinds[0])} nor {many_of(q.kinds[1])}",
        ),
    ),
    "colour choice": Form(
        "choose", "attr", "chooseAttr", "", 8, COLOURS, _renamed(open_.ask_either_colour, "colour choice"),
        _word_choice, lambda q, a: f"{the_kind(q.kinds[0]).capitalize()} is {a}.",
    ),
    "same": Form(
        "compare", "attr", "twoSame", "", 4, _YES_NO, _ask_same, _word_same,
        lambda q, a: _no_not(a, f"they have the same {_SAME[q.values[0]]}", f"the {_SAME[q.values[0]]}s differ"),
    ),
    "side": Form(
        "verify", "rel", "relVerify", "", 4, _YES_NO, _ask_side,
        lambda q: (f"Is {the_kind(q.kinds[0])} {RELATIONS[q.values[0]]} {the_kind(q.kinds[1])}?",),
        lambda q, a: _no_not(
            a,
            f"{the_kind(q.kinds[0])} is {RELATIONS[q.values[0]]} {the_kind(q.kinds[1])}",
            f"{the_kind(q.kinds[0])} is not {RELATIONS[q.values[0]]} {the_kind(q.kinds[1])}",
        ),
    ),
    "side choice": Form(
        "choose", "rel", "relChooser", "", 3, tuple(RELATION_ANSWERS.values()), _ask_side_choice,
        lambda q: (
            f"Is {the_kind(q.kinds[0])} {' or '.join(RELATIONS[side] for side in q.values)} {the_kind(q.kinds[1])}?",
        ),
        lambda q, a: f"{the_kind(q.kinds[0]).capitalize()} is {_relation_of(a)} {the_kind(q.kinds[1])}.",
    ),
    "neighbour": Form(
        "query", "rel", "relS", "shape", 2, SHAPES, _renamed(open_.ask_neighbour_shape, "neighbour"),
        lambda q: (f"What is {RELATIONS[q.values[0]]} {the_kind(q.kinds[0])}?",),
        lambda q, a: f"The {a} is {RELATIONS[q.values[0]]} {the_kind(q.kinds[0])}.",
    ),
    "background": Form(
        "query", "global", "place", "place", 3, BACKGROUNDS, open_.ask_background,
        lambda _: ("What is in the background?", "Which place is it?"),
        lambda _, a: f"The background is {a}.",
    ),
    "place choice": Form(
        "choose", "global", "placeChoose", "", 2, BACKGROUNDS, _ask_place_choice,
        lambda q: (f"Is the background {q.values[0]} or {q.values[1]}?",),
        lambda _, a: f"The background is {a}.",
    ),
}  # fmt: skip


def _relation_of(answer: str) -> str:
    return next(RELATIONS[side] for side, word in RELATION_ANSWERS.items() if word == answer)
