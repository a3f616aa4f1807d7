"""The phrases of a sentence: those in [brackets], and noun chunks where the user has a spaCy parser model.

[A man] in [a red hat] waits .   →   "A man in a red hat waits .", phrases "A man" and "a red hat"
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vltool.errors import ConfigError, DataError
from vltool.text.tokenizer import Span, Tokens, tokens_with_places

if TYPE_CHECKING:
    from spacy.language import Language


@dataclass(frozen=True)
class MarkedSentence:
    """A sentence without brackets, its tokens, and its phrases: the characters and the tokens of each."""

    text: str
    tokens: Tokens
    phrases: tuple[str, ...]
    token_spans: tuple[Span, ...]


def find_phrases(text: str, *, parser: Language | None = None) -> MarkedSentence:
    """The phrases in [brackets]; in a sentence without brackets, the noun chunks that `parser` finds (none without it).

    Raises DataError for brackets that do not match, stand inside each other, or hold no word.
    """
    plain, places = read_brackets(text)
    if not places and parser is not None:
        places = [(chunk.start_char, chunk.end_char) for chunk in parser(plain).noun_chunks]
    tokens = tokens_with_places(plain)
    spans = []
    for start, stop in places:
        inside = [k for k, token in enumerate(tokens) if start <= token.start < stop]
        if not inside:
            raise DataError(f"phrase [{plain[start:stop]}] of {text[:80]!r} holds no word")
        spans.append((inside[0], inside[-1] + 1))
    return MarkedSentence(
        text=plain,
        tokens=tuple(token.word for token in tokens),
        phrases=tuple(plain[start:stop].strip() for start, stop in places),
        token_spans=tuple(spans),
    )


def read_brackets(text: str) -> tuple[str, list[Span]]:
    """The text without brackets, and [start, stop) in it of what each pair held. Raises DataError."""
    plain: list[str] = []
    places: list[Span] = []
    opened: int | None = None
    for place, letter in enumerate(text):
        if letter == "[" and opened is None:
            opened = len(plain)
        elif letter == "]" and opened is not None:
            places.append((opened, len(plain)))
            opened = None
        elif letter in "[]":
            raise DataError(f"{text[:80]!r}: bracket {letter} at character {place + 1} has no partner")
        else:
            plain.append(letter)
    if opened is not None:
        raise DataError(f"{text[:80]!r}: the last [ is not closed")
    return "".join(plain), places


def load_parser(name: str) -> Language:
    """The spaCy model `name` (a package or a folder), for noun chunks. Raises ConfigError if it cannot be used."""
    import spacy

    try:
        model = spacy.load(name)
    except (OSError, ImportError, ValueError) as error:
        raise ConfigError(
            f"spaCy model {name!r} cannot be loaded: {str(error).splitlines()[0]} "
            "Install one (python -m spacy download en_core_web_sm), or mark phrases with [brackets]"
        ) from error
    if "parser" not in model.pipe_names:
        raise ConfigError(f"spaCy model {name!r} has no parser: noun chunks need one")
    return model
