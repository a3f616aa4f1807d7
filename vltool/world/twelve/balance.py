"""Which questions are put to which pictures, so that a question alone does not tell its answer.

What can be asked is given by picture and family: the query and its one right answer there. Queries are drawn in
groups: one query, put to as many pictures as the group has members, each of which answers it differently. (The idea
of VQA v2's complementary pairs: Goyal et al. 2017, "Making the V in VQA Matter", section 3.)
"""

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np

_TRIES = 12  # draws of a query before a family is given up for this group
_LOOKED_AT = 8  # pictures of which the least asked is taken

Q = TypeVar("Q", bound=Hashable)
Answers = Mapping[str, Mapping[Q, str]]  # of one picture: family → query → its answer


@dataclass(frozen=True)
class Asked(Generic[Q]):
    """A query put to a picture (a row of the sequence that was asked about), and the answer it has there."""

    picture: int
    family: str
    query: Q
    answer: str


def draw_balanced(
    pictures: Sequence[Answers[Q]],
    shares: Mapping[str, float],
    *,
    per_picture: int,
    group_size: int,
    rng: np.random.Generator,
) -> list[Asked[Q]]:
    """About `per_picture` queries a picture, families by their shares, in the order of the pictures.

    Every query drawn is put to `group_size` pictures that answer it differently; no picture is asked the same twice.
    A family that has nothing left to ask gives its share to the others.
    """
    pool = _Pool(pictures, shares, per_picture, group_size, rng)
    for name in _family_order(shares, len(pictures) * per_picture // group_size, rng):
        others = rng.permutation(np.asarray(list(shares))).tolist()
        for choice in (name, *others):
            if pool.draw_group(choice):
                break
    return [asked for found in pool.asked for asked in found]


def _family_order(shares: Mapping[str, float], count: int, rng: np.random.Generator) -> list[str]:
    weights = np.array(list(shares.values()))
    ends = np.round(np.cumsum(weights) / weights.sum() * count).astype(int)
    counts = np.diff(ends, prepend=0).tolist()
    names = [name for name, number in zip(shares, counts, strict=True) for _ in range(number)]
    return [names[row] for row in rng.permutation(len(names)).tolist()]


@dataclass
class _Family(Generic[Q]):
    """The queries of a family that enough pictures answer differently: query → answer → rows of pictures."""

    answers: dict[Q, dict[str, list[int]]] = field(default_factory=dict)
    queries: list[Q] = field(default_factory=list)
    odds: np.ndarray = field(default_factory=lambda: np.ones(0))  # (num_queries,) rising to 1


class _Pool(Generic[Q]):
    """All that can be asked of the pictures, and what has been asked so far."""

    def __init__(
        self,
        pictures: Sequence[Answers[Q]],
        shares: Mapping[str, float],
        limit: int,
        group_size: int,
        rng: np.random.Generator,
    ) -> None:
        self.rng, self.limit, self.group_size = rng, limit, group_size
        self.asked: list[list[Asked[Q]]] = [[] for _ in pictures]
        self.used: list[set[Q]] = [set() for _ in pictures]
        self.families = {name: self._family([picture.get(name, {}) for picture in pictures]) for name in shares}

    def _family(self, pictures: Sequence[Mapping[Q, str]]) -> _Family[Q]:
        found: dict[Q, dict[str, list[int]]] = {}
        for row, answers in enumerate(pictures):
            for query, answer in answers.items():
                found.setdefault(query, defaultdict(list))[answer].append(row)
        kept = {query: dict(answers) for query, answers in found.items() if len(answers) >= self.group_size}
        # As often as a query's answers are many, and more seldom where all but a few pictures answer alike.
        weights = np.array(
            [len(answers) * min(4, sorted(map(len, answers.values()))[-self.group_size]) for answers in kept.values()]
        )
        return _Family(kept, list(kept), np.cumsum(weights) / max(weights.sum(), 1))

    def draw_group(self, name: str) -> bool:
        """Puts one query of the family to a group of pictures; False if none was found."""
        family = self.families[name]
        if not family.queries:
            return False
        for _ in range(_TRIES):
            row = min(int(np.searchsorted(family.odds, self.rng.random(), side="right")), len(family.queries) - 1)
            query = family.queries[row]
            answers = family.answers[query]
            chosen = [list(answers)[place] for place in self.rng.permutation(len(answers))[: self.group_size]]
            pictures = [self._choose(query, answers[answer]) for answer in chosen]
            if all(picture is not None for picture in pictures):
                for picture, answer in zip(pictures, chosen, strict=True):
                    assert picture is not None
                    self.asked[picture].append(Asked(picture, name, query, answer))
                    self.used[picture].add(query)
                return True
        return False

    def _choose(self, query: Q, pictures: list[int]) -> int | None:
        """Of a few of the pictures, the one asked the least; None if all have been asked enough."""
        drawn = sorted({pictures[int(self.rng.integers(len(pictures)))] for _ in range(_LOOKED_AT)})
        free = [row for row in drawn if len(self.asked[row]) < self.limit and query not in self.used[row]]
        if not free:
            return None
        return min(free, key=lambda row: (len(self.asked[row]), self.rng.random()))
