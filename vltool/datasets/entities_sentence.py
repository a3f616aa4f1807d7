"""One line of a Flickr30k Entities sentence file.

    [/EN#6/people A man] in [/EN#7/clothing a blue shirt] standing in [/EN#9/scene a garden] .

A word that begins with `[` opens a phrase: `[/EN#chain/type/type…`; the first later word that ends with `]` closes it.
Rule: flickr30k_entities_utils.py of BryanPlummer/flickr30k_entities at 68b3d6f1.
"""

from __future__ import annotations

from typing import NamedTuple

from vltool.datasets.checks import Place, shown
from vltool.errors import DataError

_OPENING = "[/EN#"


class BracketedPhrase(NamedTuple):
    """Words first_word … first_word + num_words - 1 of a sentence, their chain and coarse types."""

    first_word: int
    num_words: int
    chain_id: str
    types: tuple[str, ...]


def parse_sentence(line: str, place: Place) -> tuple[tuple[str, ...], tuple[BracketedPhrase, ...]]:
    """The words of a line and its phrases. Raises DataError for brackets that do not match."""
    words: list[str] = []
    phrases: list[BracketedPhrase] = []
    opened: BracketedPhrase | None = None
    for piece in line.split():
        if opened is None and piece[0] == "[":
            opened = _open_phrase(piece, len(words), place)
        elif opened is not None and piece.startswith(_OPENING):
            raise DataError(f"{place}: phrase {shown(piece)} opens inside another")
        elif opened is not None and piece[-1] == "]":
            words.append(piece[:-1])
            if not any(words[opened.first_word :]):
                raise DataError(f"{place}: the phrase of chain {opened.chain_id!r} has no words")
            phrases.append(opened._replace(num_words=len(words) - opened.first_word))
            opened = None
        else:
            words.append(piece)
    if opened is not None:
        raise DataError(f"{place}: the phrase of chain {opened.chain_id!r} is not closed by a word ending with ]")
    if not words:
        raise DataError(f"{place}: expected a sentence, found {shown(line)}")
    return tuple(words), tuple(phrases)


def _open_phrase(piece: str, first_word: int, place: Place) -> BracketedPhrase:
    parts = piece.split("/")
    if not piece.startswith(_OPENING) or len(parts[1]) <= len("EN#") or piece[-1] == "]":
        raise DataError(f"{place}: expected a phrase to open as in [/EN#6/people, found {shown(piece)}")
    return BracketedPhrase(first_word, 0, parts[1].removeprefix("EN#"), tuple(parts[2:]))
