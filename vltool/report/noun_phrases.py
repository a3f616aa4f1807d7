"""Noun phrases of sentences that nobody has marked, found by what the run's own grounding data marks.

Two shares of each word are counted over captions with marked phrases: how often it stands in a phrase, and how often
it is the last word of the one it stands in. A phrase of a question is then a run of words that mostly stand in
phrases, up to one that mostly ends them: "Is |the small cross| green ?".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vltool.datasets.records import GroundedCaption


@dataclass(frozen=True)
class PhraseFinder:
    """inside: words that mostly stand in a phrase; last: those of them that mostly end it. All in lower case."""

    inside: frozenset[str]
    last: frozenset[str]

    @classmethod
    def from_captions(cls, captions: Iterable[GroundedCaption]) -> PhraseFinder:
        """What captions with marked phrases teach; phrases without a box count too."""
        met, inside, last = Counter[str](), Counter[str](), Counter[str]()
        for caption in captions:
            words = [token.lower() for token in caption.tokens]
            met.update(words)
            for phrase in caption.phrases:
                own = words[phrase.first_word : phrase.first_word + phrase.num_words]
                inside.update(own)
                last.update(own[-1:])
        mostly = frozenset(word for word, count in inside.items() if 2 * count > met[word])
        return cls(mostly, frozenset(word for word in mostly if 2 * last[word] > inside[word]))

    def find(self, words: Sequence[str]) -> list[tuple[int, int]]:
        """[start, end) of every phrase."""
        found, start = [], None
        for place, word in enumerate(word.lower() for word in words):
            if word not in self.inside:
                start = None
                continue
            start = place if start is None else start
            if word in self.last:
                found.append((start, place + 1))
                start = None
        return found
