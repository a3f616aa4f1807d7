"""Captions of the generated world: five true sentences a picture, each noun phrase tied to what it speaks of.

One caption, as `write_captions(scene)` gives it:

    Caption(words=("Two", "red", "circles", "and", "a", "striped", "star", "on", "the", "sand", "."),
            phrases=(Phrase(0, 3, "circle", (1, 4)), Phrase(4, 7, "star", (0,)), Phrase(8, 10, "scene", ())))
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vltool.world.phrases import (
    ANYTHING,
    NUMBER_WORDS,
    OPPOSITES,
    Kind,
    adjectives,
    index_kinds,
    next_to,
    noun,
    relation,
    unique_kinds,
    with_article,
)
from vltool.world.scene import Scene

CAPTIONS_PER_PICTURE = 5
SCENE_PHRASES = {  # background: preposition, then the names it goes by
    "wood": ("on", "a wooden table", "the wooden table", "a table"),
    "brick": ("in front of", "a brick wall", "the brick wall", "a wall"),
    "grass": ("on", "the grass", "a lawn", "some grass"),
    "sand": ("on", "the sand", "a sandy beach", "some sand"),
    "tile": ("on", "a tiled floor", "the tiled floor", "a floor"),
    "water": ("on", "the water", "a lake", "some water"),
    "sky": ("in front of", "a cloudy sky", "the sky", "some clouds"),
    "carpet": ("on", "a carpet", "the soft carpet", "a rug"),
}
_CAPTION_STREAM = 2  # third word of the random seed: words and paint draw apart
_ATTRIBUTE_ODDS = {1: 0.1, 2: 1.0, 3: 1.2, 4: 0.7}  # how often an object is named by so many attributes


@dataclass(frozen=True)
class Phrase:
    """A noun phrase of a caption: words[first:last].

    type:    a shape, "other" (objects of several shapes, or a thing without a box), "scene", or "notvisual".
    objects: rows of the scene's objects that the phrase speaks of; () for a phrase without a box.
    """

    first: int
    last: int
    type: str
    objects: tuple[int, ...]


@dataclass(frozen=True)
class Caption:
    """A sentence as separate words, punctuation included, and its noun phrases from left to right."""

    words: tuple[str, ...]
    phrases: tuple[Phrase, ...]

    @property
    def sentence(self) -> str:
        """The caption as people write it: "Two red circles and a star on the sand." """
        return " ".join(self.words).replace(" ,", ",").replace(" .", ".")


def write_captions(scene: Scene) -> tuple[Caption, ...]:
    """Five captions of the picture, each of another form where the picture allows it, all of them true."""
    rng = np.random.default_rng([scene.seed, scene.number, _CAPTION_STREAM])
    writer = _Writer(scene, rng)
    captions: list[Caption] = []
    while len(captions) < CAPTIONS_PER_PICTURE:
        for form in rng.permutation(len(_FORMS)).tolist():
            writer.begin()
            if len(captions) < CAPTIONS_PER_PICTURE and _FORMS[form](writer):
                caption = writer.finish()
                if all(caption.words != earlier.words for earlier in captions):
                    captions.append(caption)
    return tuple(captions)


class _Writer:
    """Puts one caption together, word by word, and remembers which objects were spoken of already."""

    def __init__(self, scene: Scene, rng: np.random.Generator) -> None:
        self.scene = scene
        self.rng = rng
        self.index = index_kinds(scene)
        self.names = {
            row: [kind for kind in kinds if kind.shape or kind.num_attributes > 1]
            for row, kinds in unique_kinds(self.index).items()
        }
        self.mentions = [0] * len(scene.objects)
        self.begin()

    def begin(self) -> None:
        self.words: list[str] = []
        self.phrases: list[Phrase] = []

    def finish(self) -> Caption:
        for phrase in self.phrases:
            for row in phrase.objects if len(phrase.objects) < 4 else ():
                self.mentions[row] += 1
        first = self.words[0]
        return Caption((first[0].upper() + first[1:], *self.words[1:], "."), tuple(self.phrases))

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def one_of(self, *choices: str) -> str:
        return choices[int(self.rng.integers(len(choices)))]

    def say(self, text: str) -> None:
        self.words += text.split()

    def phrase(self, words: Sequence[str], phrase_type: str, objects: tuple[int, ...] = ()) -> None:
        start = len(self.words)
        self.words += words
        self.phrases.append(Phrase(start, len(self.words), phrase_type, objects))

    def rows(self, number: int, *, but: Sequence[int] = ()) -> list[int] | None:
        """Rows of objects that can be named one by one, those least spoken of first; None if there are too few."""
        free = [row for row in self.names if row not in but]
        order = sorted(free, key=lambda row: (self.mentions[row], self.rng.random()))
        return order[:number] if len(order) >= number else None

    def object(self, row: int, *, definite: bool | None = None, without: str = "") -> None:
        """Names one object so that no other fits; `without` names an attribute to keep quiet about."""
        kinds = [kind for kind in self.names[row] if not (without and getattr(kind, without))]
        weights = np.array([_ATTRIBUTE_ODDS[kind.num_attributes] * _taste(kind) for kind in kinds])
        kind = kinds[int(self.rng.choice(len(kinds), p=weights / weights.sum()))]
        words = [*adjectives(kind, self.rng), noun(kind, other=self.one_of("shape", "object"))]
        said_the = self.chance(0.5) if definite is None else definite
        self.phrase(["the", *words] if said_the else with_article(words), self.scene.objects[row].shape, (row,))

    def groups(self, *, but: Sequence[int] = (), least: int = 1) -> list[Kind]:
        """Kinds of which the picture has two to five, none of them among the rows `but`."""
        return [
            kind
            for kind, rows in self.index.items()
            if 2 <= len(rows) <= 5 and kind.num_attributes >= least and not set(rows) & set(but)
        ]

    def pick(self, kinds: Sequence[Kind]) -> Kind:
        weights = np.array([_taste(kind) for kind in kinds])
        return kinds[int(self.rng.choice(len(kinds), p=weights / weights.sum()))]

    def group(self, kind: Kind, *, lead: str = "") -> None:
        """Names all objects of a kind: "two red circles", or with another lead than the number."""
        rows = self.index[kind]
        shapes = {self.scene.objects[row].shape for row in rows}
        words = [lead or NUMBER_WORDS[len(rows)], *adjectives(kind, self.rng), noun(kind, plural=True)]
        self.phrase(words, shapes.pop() if len(shapes) == 1 else "other", rows)

    def background(self) -> None:
        preposition, *names = SCENE_PHRASES[self.scene.background]
        self.say(preposition)
        self.background_name(names)

    def background_name(self, names: Sequence[str]) -> None:
        name = names[int(self.rng.choice(len(names), p=(0.45, 0.35, 0.2)))]
        self.phrase(name.split(), "scene")


def _taste(kind: Kind) -> float:
    """How readily people name a thing so: colours and shapes sooner than textures, plainness hardly ever."""
    weight = (2.5 if kind.colour else 1.0) * (3.0 if kind.shape else 1.0)
    return weight * (0.3 if kind.texture == "plain" else 1.0)


def _relation(writer: _Writer) -> bool:
    """A large red star is left of the blue circle, on the sand."""
    rows = writer.rows(4) or writer.rows(2)
    if rows is None:
        return False
    first, *others = rows
    objects = writer.scene.objects
    placed = [(row, side) for row in others if (side := relation(objects[first], objects[row]))]
    if not placed:
        return False
    row, side = placed[0]
    writer.object(first)
    writer.say(writer.one_of("is", "lies", "is", ""))
    writer.say(
        {"below": writer.one_of("below", "under"), "above": "above"}.get(side, writer.one_of(side, f"to the {side}"))
    )
    writer.object(row)
    if writer.chance(0.4):
        writer.background()
    return True


def _chain(writer: _Writer) -> bool:
    """The red star is above the blue circle and right of the small heart."""
    rows = writer.rows(len(writer.names)) or []
    objects = writer.scene.objects
    for first in rows:
        placed = [(row, side) for row in rows if row != first and (side := relation(objects[first], objects[row]))]
        sides = dict(reversed([(side, row) for row, side in placed]))
        if len(sides) < 2:
            continue
        (one, row), (two, other) = list(sides.items())[:2]
        if one == OPPOSITES[two]:
            continue
        writer.object(first)
        writer.say(f"is {one}")
        writer.object(row)
        writer.say(f"and {two}")
        writer.object(other)
        return True
    return False


def _beside(writer: _Writer) -> bool:
    """A red star next to the blue circle on the sand."""
    rows = writer.rows(len(writer.names)) or []
    objects = writer.scene.objects
    close = [(a, b) for a in rows for b in rows if a != b and next_to(objects[a], objects[b])]
    if not close:
        return False
    writer.object(close[0][0])
    writer.say(writer.one_of("next to", "beside", "is next to", "near"))
    writer.object(close[0][1])
    if writer.chance(0.6):
        writer.background()
    return True


def _two_objects(writer: _Writer) -> bool:
    """There is a red star and a blue circle on the sand."""
    rows = writer.rows(2)
    if rows is None:
        return False
    opening = writer.one_of("there is", "there is", "", "here we see")
    writer.say(opening)
    writer.object(rows[0], definite=False if opening else None)
    writer.say("and")
    writer.object(rows[1], definite=False if opening else None)
    writer.background()
    return True


def _three_objects(writer: _Writer) -> bool:
    """The picture shows a red star, a blue circle and a small heart."""
    rows = writer.rows(3)
    if rows is None:
        return False
    writer.phrase([writer.one_of("the", "this"), writer.one_of("picture", "image", "photo")], "notvisual")
    writer.say(writer.one_of("shows", "has", "contains"))
    for row, after in zip(rows, (",", "and", ""), strict=True):
        writer.object(row, definite=False)
        writer.say(after)
    return True


def _group_and_object(writer: _Writer) -> bool:
    """Two red circles and a small star on the sand."""
    rows = writer.rows(1)
    kinds = writer.groups(but=rows) if rows else []
    if not rows or not kinds:
        return False
    if writer.chance(0.5):
        writer.group(writer.pick(kinds))
        writer.say(writer.one_of("and", "with", "and"))
        writer.object(rows[0], definite=False)
    else:
        writer.object(rows[0])
        writer.say(writer.one_of("and", "with", "among"))
        writer.group(writer.pick(kinds))
    if writer.chance(0.6):
        writer.background()
    return True


def _one_group(writer: _Writer) -> bool:
    """There are two red circles on the sand."""
    kinds = [kind for kind, rows in writer.index.items() if len(rows) > 1]
    if not kinds:
        return False
    writer.say(writer.one_of("there are", "we can see"))
    writer.group(writer.pick(kinds))
    writer.background()
    return True


def _two_groups(writer: _Writer) -> bool:
    """There are two red circles and three stars on the sand."""
    kinds = writer.groups()
    if not kinds:
        return False
    first = writer.pick(kinds)
    others = writer.groups(but=writer.index[first])
    if not others:
        return False
    writer.say(writer.one_of("there are", "", "we can see"))
    writer.group(first)
    writer.say("and")
    writer.group(writer.pick(others))
    if writer.chance(0.6):
        writer.background()
    return True


def _everything(writer: _Writer) -> bool:
    """Five shapes lie on the sand, and one of them is a red star."""
    rows = writer.rows(1)
    if rows is None:
        return False
    writer.group(ANYTHING)
    writer.say(writer.one_of("lie", "are", "can be seen"))
    writer.background()
    writer.say(writer.one_of(", and one of them is", ", one is"))
    writer.object(rows[0], definite=False)
    return True


def _view(writer: _Writer) -> bool:
    """A view of the sand with a red star and two circles."""
    rows = writer.rows(2)
    if rows is None:
        return False
    writer.phrase(["a", writer.one_of("view", "picture", "glimpse")], "other")
    writer.say("of")
    writer.background_name(SCENE_PHRASES[writer.scene.background][1:])
    writer.say("with")
    writer.object(rows[0], definite=False)
    writer.say("and")
    kinds = writer.groups(but=rows[:1], least=2)
    if kinds and writer.chance(0.5):
        writer.group(writer.pick(kinds))
    else:
        writer.object(rows[1], definite=False)
    return True


def _someone(writer: _Writer) -> bool:
    """Someone has put a red star and a blue circle on the sand."""
    rows = writer.rows(2)
    if rows is None:
        return False
    writer.phrase([writer.one_of("someone", "somebody")], "notvisual")
    writer.say(writer.one_of("has put", "placed", "left", "painted"))
    writer.object(rows[0], definite=False)
    writer.say(writer.one_of("and", "together with", "and also"))
    writer.object(rows[1], definite=False)
    writer.background()
    return True


def _bigger(writer: _Writer) -> bool:
    """The red star is bigger than the striped circle."""
    named = [row for row, kinds in writer.names.items() if any(kind.size is None for kind in kinds)]
    rows = [row for row in writer.rows(len(writer.names)) or [] if row in named]
    large = [row for row in rows if writer.scene.objects[row].size == "large"]
    small = [row for row in rows if writer.scene.objects[row].size == "small"]
    if not large or not small:
        return False
    bigger_first = writer.chance(0.5)
    writer.object(large[0] if bigger_first else small[0], without="size")
    writer.say("is bigger than" if bigger_first else "is smaller than")
    writer.object(small[0] if bigger_first else large[0], without="size")
    return True


def _alike(writer: _Writer) -> bool:
    """The star and the large circle are both red."""
    named = [row for row, kinds in writer.names.items() if any(kind.colour is None for kind in kinds)]
    rows = [row for row in writer.rows(len(writer.names)) or [] if row in named]
    objects = writer.scene.objects
    pairs = [(a, b) for a in rows for b in rows if a != b and objects[a].colour == objects[b].colour]
    if not pairs:
        return False
    writer.object(pairs[0][0], definite=True, without="colour")
    writer.say("and")
    writer.object(pairs[0][1], definite=True, without="colour")
    writer.say(f"are both {objects[pairs[0][0]].colour}")
    return True


def _all_of_a_kind(writer: _Writer) -> bool:
    """Both circles are red, and there is a small striped star."""
    rows = writer.rows(1)
    objects = writer.scene.objects
    found = []
    for kind in writer.groups(but=rows or ()):
        same = {objects[row].colour for row in writer.index[kind]}
        if kind.shape and not kind.colour and len(same) == 1:
            found.append((kind, same.pop()))
    if not rows or not found:
        return False
    kind, colour = found[int(writer.rng.integers(len(found)))]
    number = len(writer.index[kind])
    writer.group(kind, lead="both" if number == 2 else "all")
    writer.say(f"are {colour} , and there is")
    writer.object(rows[0], definite=False)
    return True


_FORMS: tuple[Callable[[_Writer], bool], ...] = (
    _relation,
    _chain,
    _beside,
    _two_objects,
    _three_objects,
    _group_and_object,
    _one_group,
    _two_groups,
    _everything,
    _view,
    _someone,
    _bigger,
    _alike,
    _all_of_a_kind,
)
