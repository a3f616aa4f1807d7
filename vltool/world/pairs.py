"""Which questions are put to which pictures: complementary pairs, as VQA v2 balances them, and ten annotators each.

A pair is one question put to two pictures that answer it differently, so knowing the question alone helps little
(Goyal et al. 2017, "Making the V in VQA Matter", section 3).
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vltool.world.queries import Query, View
from vltool.world.questions import FAMILIES, ask_everything
from vltool.world.scene import Scene

NUM_ANNOTATORS = 10
ANNOTATOR_ACCURACY = 0.93
_QUESTION_STREAM = 3  # third word of the random seed
_TRIES = 12  # draws of a query before a family is given up for this pair


@dataclass(frozen=True)
class Question:
    """One question put to one picture. `picture` is the row of its scene in the sequence that was asked about."""

    picture: int
    text: str
    family: str
    answer: str


def ask_in_pairs(
    scenes: Sequence[Scene], *, questions_per_image: int, seed: int
) -> tuple[list[Question], list[tuple[int, int]]]:
    """About so many questions for each scene, and the complementary pairs among them.

    Returns the questions, in the order of their pictures, and pairs of rows of that list: same text, another answer.
    Every question belongs to one pair. No picture is asked the same thing twice, and none is asked more than
    `questions_per_image` questions. The result follows from the scenes and the seed.
    """
    rng = np.random.default_rng([seed, len(scenes), _QUESTION_STREAM])
    pool = _Pool(scenes, questions_per_image, rng)
    num_pairs = len(scenes) * questions_per_image // 2
    for name in _family_order(num_pairs, rng):
        for choice in (name, "existence", "count", "comparison"):
            if pool.draw_pair(choice):
                break
    return pool.sorted_questions()


def annotate(question: Question, rng: np.random.Generator) -> list[tuple[str, str]]:
    """Ten annotators' answers with their confidence ("yes", "maybe", "no").

    Each is right with probability 0.93; the others name another answer of the same sort, a count off by one or two.
    """
    given = []
    for _ in range(NUM_ANNOTATORS):
        right = bool(rng.random() < ANNOTATOR_ACCURACY)
        confidence = str(rng.choice(("yes", "maybe", "no"), p=(0.9, 0.08, 0.02) if right else (0.4, 0.4, 0.2)))
        given.append((question.answer if right else _mistake(question, rng), confidence))
    return given


def most_common_answer(answers: Sequence[str], *, right: str) -> str:
    """The answer given most often; where several are, the right one if it is among them, else the first given."""
    counts = {answer: answers.count(answer) for answer in answers}
    best = [answer for answer, count in counts.items() if count == max(counts.values())]
    return right if right in best else best[0]


def _mistake(question: Question, rng: np.random.Generator) -> str:
    family = FAMILIES[question.family]
    if family.answer_type == "number":
        right = int(question.answer)
        guess = max(right + int(rng.choice((-2, -1, -1, 1, 1, 2))), 0)
        return str(guess if guess != right else 1)
    others = [answer for answer in family.answers if answer != question.answer]
    return others[int(rng.integers(len(others)))]


def _family_order(num_pairs: int, rng: np.random.Generator) -> list[str]:
    """A family for each pair, by the families' shares, in random order."""
    shares = np.array([family.share for family in FAMILIES.values()])
    ends = np.round(np.cumsum(shares) / shares.sum() * num_pairs).astype(int)
    counts = np.diff(ends, prepend=0).tolist()
    names = [name for name, count in zip(FAMILIES, counts, strict=True) for _ in range(count)]
    return [names[row] for row in rng.permutation(len(names)).tolist()]


class _Pool:
    """All that can be asked of the pictures, and what has been asked so far."""

    def __init__(self, scenes: Sequence[Scene], limit: int, rng: np.random.Generator) -> None:
        self.rng = rng
        self.limit = limit
        self.views = [View(scene) for scene in scenes]
        self.asked: list[list[Question]] = [[] for _ in scenes]
        self.used: list[set[Query]] = [set() for _ in scenes]
        self.pairs: list[tuple[Question, Question]] = []
        pictures: dict[str, dict[Query, dict[str, list[int]]]] = {name: {} for name in FAMILIES}
        for picture, view in enumerate(self.views):
            for family, query, answer in ask_everything(view):
                pictures[family.name].setdefault(query, defaultdict(list))[answer].append(picture)
        self.pictures = {
            name: {query: dict(answers) for query, answers in queries.items() if len(answers) > 1}
            for name, queries in pictures.items()
        }
        self.queries = {name: list(queries) for name, queries in self.pictures.items()}
        # A query with many answers is asked more often: it is the harder one to guess, and the more general one.
        self.odds = {name: _cumulative_odds(queries) for name, queries in self.pictures.items()}

    def draw_pair(self, family: str) -> bool:
        """Puts one question of the family to two pictures; False if no such pair was found."""
        if not self.queries[family]:
            return False
        for _ in range(_TRIES):
            query = self.queries[family][int(np.searchsorted(self.odds[family], self.rng.random(), side="right"))]
            answers = self.pictures[family][query]
            first, second = (list(answers)[row] for row in self.rng.permutation(len(answers))[:2])
            a = self._choose_picture(query, answers[first])
            b = self._choose_picture(query, answers[second])
            if a is not None and b is not None:
                self._ask(family, query, (a, first), (b, second))
                return True
        return False

    def _choose_picture(self, query: Query, pictures: list[int]) -> int | None:
        """Of a few of the pictures, the one asked the least; a near miss sooner than one where nothing fits."""
        drawn = sorted({pictures[int(self.rng.integers(len(pictures)))] for _ in range(8)})
        free = [row for row in drawn if len(self.asked[row]) < self.limit and query not in self.used[row]]
        if not free:
            return None
        return min(free, key=lambda row: (len(self.asked[row]), -self._nearness(query, row), self.rng.random()))

    def _nearness(self, query: Query, picture: int) -> int:
        """How many of the attributes asked about the picture has on some object."""
        index = self.views[picture].index
        parts = [kind._replace(**{name: None}) for kind in query.kinds for name in kind._fields if getattr(kind, name)]
        return sum(part in index for part in parts)

    def _ask(self, family: str, query: Query, *answered: tuple[int, str]) -> None:
        wordings = FAMILIES[family].word(query)
        text = wordings[int(self.rng.integers(len(wordings)))]
        first, second = (Question(picture, text, family, answer) for picture, answer in answered)
        for question in (first, second):
            self.asked[question.picture].append(question)
            self.used[question.picture].add(query)
        self.pairs.append((first, second))

    def sorted_questions(self) -> tuple[list[Question], list[tuple[int, int]]]:
        questions = [question for asked in self.asked for question in asked]
        rows = {id(question): row for row, question in enumerate(questions)}
        return questions, sorted((rows[id(a)], rows[id(b)]) for a, b in self.pairs)


def _cumulative_odds(queries: dict[Query, dict[str, list[int]]]) -> np.ndarray:
    """(num_queries,) rising to 1: each query as often as it has answers, fewer where an answer is rare."""
    if not queries:
        return np.ones(0)
    weights = [(len(answers) - 1) * min(4, sorted(map(len, answers.values()))[-2]) for answers in queries.values()]
    return np.cumsum(weights) / np.sum(weights) - 1e-12 * (np.arange(len(weights)) + 1 == len(weights))
