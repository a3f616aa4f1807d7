"""What a caption is, and the writer that puts one together: it picks words and keeps each noun phrase's objects."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vltool.world.phrases import (
    NUMBER_WORDS,
    Kind,
    adjectives,
    index_kinds,
    noun,
    unique_kinds,
    with_article,
)
from vltool.world.scene import Scene

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


class CaptionWriter:
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
        """Starts a new caption."""
        self.words: list[str] = []
        self.phrases: list[Phrase] = []

    def finish(self) -> Caption:
        """The caption written so far, with its full stop; its single objects now count as spoken of."""
        for phrase in self.phrases:
            for row in phrase.objects if len(phrase.objects) < 4 else ():
                self.mentions[row] += 1
        first = self.words[0]
        return Caption((first[0].upper() + first[1:], *self.words[1:], "."), tuple(self.phrases))

    def chance(self, share: float) -> bool:
        """True in so large a share of the calls."""
        return bool(self.rng.random() < share)

    def one_of(self, *choices: str) -> str:
        """One of the wordings, at random."""
        return choices[int(self.rng.integers(len(choices)))]

    def say(self, text: str) -> None:
        """Adds words that belong to no noun phrase."""
        self.words += text.split()

    def phrase(self, words: Sequence[str], phrase_type: str, objects: tuple[int, ...] = ()) -> None:
        """Adds a noun phrase."""
        start = len(self.words)
        self.words += words
        self.phrases.append(Phrase(start, len(self.words), phrase_type, objects))

    def rows(self, number: int, *, but: Sequence[int] = ()) -> list[int] | None:
        """Rows of objects that can be named one by one, those least spoken of first; None if there are too few."""
        free = [row for row in self.names if row not in but]
        order = sorted(free, key=lambda row: (self.mentions[row], self.rng.random()))
        return order[:number] if len(order) >= number else None

    def name(self, row: int, *, definite: bool | None = None, without: str = "") -> None:
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
        """One of the kinds, those with a shape and a colour sooner."""
        weights = np.array([_taste(kind) for kind in kinds])
        return kinds[int(self.rng.choice(len(kinds), p=weights / weights.sum()))]

    def name_group(self, kind: Kind, *, lead: str = "") -> None:
        """Names all objects of a kind: "two red circles", or with another lead than the number."""
        rows = self.index[kind]
        shapes = {self.scene.objects[row].shape for row in rows}
        other = self.one_of("shape", "shape", "object")
        words = [lead or NUMBER_WORDS[len(rows)], *adjectives(kind, self.rng), noun(kind, plural=True, other=other)]
        self.phrase(words, shapes.pop() if len(shapes) == 1 else "other", rows)

    def background(self) -> None:
        """Says where all this is: "on the sand"."""
        self.say(SCENE_PHRASES[self.scene.background][0])
        self.background_name()

    def background_name(self) -> None:
        """Names the background alone, as a scene phrase: "the sand"."""
        _, *names = SCENE_PHRASES[self.scene.background]
        name = names[int(self.rng.choice(len(names), p=(0.45, 0.35, 0.2)))]
        self.phrase(name.split(), "scene")


def _taste(kind: Kind) -> float:
    """How readily people name a thing so: colours and shapes sooner than textures, plainness hardly ever."""
    weight = (2.5 if kind.colour else 1.0) * (3.0 if kind.shape else 1.0)
    return weight * (0.3 if kind.texture == "plain" else 1.0)
