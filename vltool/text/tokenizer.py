"""Sentences to lower-case words, by spaCy's English rules (a blank pipeline: no model to download).

    "Don't look at the man's T-shirt."  →  do n't look at the man 's t - shirt .

The same text always gives the same tokens; white space is none. A run of more than 200 characters without a space,
which no language has and which can hold the rules up for hours, is cut into pieces of 200 first.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, NamedTuple

from vltool.engines.local import LocalEngine, num_cores
from vltool.errors import DataError

if TYPE_CHECKING:
    from spacy.tokenizer import Tokenizer

Tokens = tuple[str, ...]
Span = tuple[int, int]
"""[start, stop) of tokens."""

_LONGEST_RUN = 200
_LONG_RUN = re.compile(rf"\S{{{_LONGEST_RUN + 1},}}")
_BATCH = 2000
MANY = 150_000  # texts, from which on processes pay for their start
_PART = 25_000  # texts that a process is given at once
_BETWEEN = "\x1f"  # texts that hold it themselves stay in this process
_CACHED = 100_000
_ALIGNED = 65_536


class Token(NamedTuple):
    """A lower-case word and where it begins in the text (in characters)."""

    word: str
    start: int


@dataclass(frozen=True)
class AlignedTokens:
    """The tokens of words that a dataset has separated. word_spans: the tokens that each word was split into."""

    tokens: Tokens
    word_spans: tuple[Span, ...]

    def span(self, first_word: int, num_words: int) -> Span:
        """[start, stop) of the tokens of some words. Raises DataError if there are no such words or tokens."""
        if not 0 <= first_word < first_word + num_words <= len(self.word_spans):
            raise DataError(
                f"words {first_word} to {first_word + num_words} of a sentence of {len(self.word_spans)}: "
                f"{' '.join(self.tokens)[:80]!r}"
            )
        start, stop = self.word_spans[first_word][0], self.word_spans[first_word + num_words - 1][1]
        if start == stop:
            raise DataError(
                f"words {first_word} to {first_word + num_words} hold no token: {' '.join(self.tokens)[:80]!r}"
            )
        return start, stop


@lru_cache(maxsize=_CACHED)
def tokenize(text: str) -> Tokens:
    """The lower-case tokens of a text; none for white space alone. Cached. Raises DataError if it is not Unicode."""
    return tuple(token.word for token in tokens_with_places(text))


def tokenize_all(texts: Iterable[str]) -> list[Tokens]:
    """The tokens of each text, in order; texts that come again are tokenized once."""
    ordered = list(texts)
    found = dict(_tokenize_distinct(dict.fromkeys(ordered)))
    return [found[text] for text in ordered]


def tokens_with_places(text: str) -> list[Token]:
    """The tokens of a text and where each begins in it."""
    check_unicode(text)
    places, start = [], 0
    for piece in _pieces(text):
        places += [Token(token.lower_, start + token.idx) for token in _rules()(piece) if not token.is_space]
        start += len(piece)
    return places


def align(words: Sequence[str]) -> AlignedTokens:
    """The tokens of `" ".join(words)` and which of them each word became, for phrases counted in words. Cached."""
    return _aligned(tuple(words))


@lru_cache(maxsize=_ALIGNED)
def _aligned(words: tuple[str, ...]) -> AlignedTokens:
    places = tokens_with_places(" ".join(words))
    starts = [token.start for token in places]
    ends = accumulate(len(word) + 1 for word in words)  # where each next word begins
    bounds = [0, *(bisect_right(starts, end - 1) for end in ends)]
    return AlignedTokens(tuple(token.word for token in places), tuple(pairwise(bounds)))


def _tokenize_distinct(texts: Iterable[str]) -> Iterator[tuple[str, Tokens]]:
    simple = []
    for text in texts:
        check_unicode(text)
        if _LONG_RUN.search(text) or _BETWEEN in text:
            yield text, tokenize(text)
        else:
            simple.append(text)
    if len(simple) >= MANY and num_cores() > 1:
        yield from _tokenize_on_all_cores(simple)
    else:
        yield from zip(simple, _tokenize_simple(simple), strict=True)


def _tokenize_simple(texts: Sequence[str]) -> Iterator[Tokens]:
    for parsed in _rules().pipe(texts, batch_size=_BATCH):
        yield tuple(token.lower_ for token in parsed if not token.is_space)


def _tokenize_on_all_cores(texts: Sequence[str]) -> Iterator[tuple[str, Tokens]]:
    parts = [texts[start : start + _PART] for start in range(0, len(texts), _PART)]
    found: dict[int, list[str]] = {}
    for done in LocalEngine().run(_joined_tokens, list(enumerate(parts))):
        if done.error is not None:
            raise done.error
        assert done.result is not None
        found[done.job[0]] = done.result
    for number, part in enumerate(parts):
        for text, joined in zip(part, found.pop(number), strict=True):
            yield text, tuple(joined.split(_BETWEEN)) if joined else ()


def _joined_tokens(job: tuple[int, Sequence[str]]) -> list[str]:
    """The tokens of each text in one string: much less for a process to send than tuples."""
    return [_BETWEEN.join(tokens) for tokens in _tokenize_simple(job[1])]


def _pieces(text: str) -> list[str]:
    """`text` cut inside runs that are too long; the pieces joined are `text`."""
    cuts = [
        place
        for run in _LONG_RUN.finditer(text)
        for place in range(run.start() + _LONGEST_RUN, run.end(), _LONGEST_RUN)
    ]
    return [text[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def check_unicode(text: str) -> None:
    """Raises DataError for text that is not Unicode."""
    if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
        raise DataError(f"text {text[:60]!r}: half of a surrogate pair is not Unicode text")


@cache
def _rules() -> Tokenizer:
    import spacy

    return spacy.blank("en").tokenizer
