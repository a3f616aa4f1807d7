"""Questions about the generated world: what can be asked of a picture, the one right answer, and the wording.

A `Query` is a question before it is put into words. The same query can be put to many pictures and has other answers
there, which is what `pairs.py` builds its complementary pairs from. One query, its wordings and its answer:

    Query("colour", (Kind(shape="star"),))   "What color is the star?"   "red" where the picture has one star, a red one
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from vltool.world import open_questions as others
from vltool.world import yes_no_questions as yes_no
from vltool.world.queries import Asked, Query, View
from vltool.world.scene import BACKGROUNDS, COLOURS, SHAPES, SIZES, TEXTURES

# The official question types (the first words of a question) that this world's questions begin with.
QUESTION_TYPES = (
    "are the",
    "are there",
    "are there any",
    "can you",
    "do you",
    "how many",
    "is the",
    "is there",
    "is there a",
    "is this",
    "what",
    "what color is the",
    "what color are the",
    "what is",
    "what is in the",
    "what is the",
    "what kind of",
    "what is the color of the",
    "which",
)
ANSWER_TYPES = ("yes/no", "number", "other")
NUMBERS = tuple(str(number) for number in range(9))


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


_YES_NO = ("yes", "no")
# Shares follow VQA v2's mix of answer types (38 % yes/no, 12 % number, 50 % other), with more to count.
# Questions about sides stay few: region features do not tell where a region is.
FAMILIES = {
    family.name: family
    for family in (
        Family("existence", "yes/no", 15, _YES_NO, yes_no.ask_existence, yes_no.word_existence),
        Family("attribute", "yes/no", 13, _YES_NO, yes_no.ask_attribute, yes_no.word_attribute),
        Family("comparison", "yes/no", 5, _YES_NO, yes_no.ask_comparison, yes_no.word_comparison),
        Family("exact count", "yes/no", 2, _YES_NO, yes_no.ask_exact_count, yes_no.word_exact_count),
        Family("place", "yes/no", 2, _YES_NO, yes_no.ask_place, yes_no.word_place),
        Family("side", "yes/no", 2, _YES_NO, yes_no.ask_side, yes_no.word_side),
        Family("count", "number", 15, NUMBERS, others.ask_count, others.word_count),
        Family("colour", "other", 15, COLOURS, others.ask_colour, others.word_colour),
        Family("group colour", "other", 2, COLOURS, others.ask_group_colour, others.word_group_colour),
        Family("either colour", "other", 3, COLOURS, others.ask_either_colour, others.word_either_colour),
        Family("shape", "other", 10, SHAPES, others.ask_shape, others.word_shape),
        Family("pattern", "other", 8, TEXTURES, others.ask_pattern, others.word_pattern),
        Family("size", "other", 2, SIZES, others.ask_size, others.word_size),
        Family("background", "other", 3, BACKGROUNDS, others.ask_background, others.word_background),
        Family("neighbour colour", "other", 2, COLOURS, others.ask_neighbour_colour, others.word_neighbour_colour),
        Family("neighbour shape", "other", 1, SHAPES, others.ask_neighbour_shape, others.word_neighbour_shape),
    )
}
