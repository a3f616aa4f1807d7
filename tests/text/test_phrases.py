"""Phrases in brackets and from a parser."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from vltool.errors import ConfigError, DataError
from vltool.text.phrases import MarkedSentence, find_phrases, load_parser


def test_phrases_in_brackets() -> None:
    found = find_phrases("[A man] in [a red hat's brim] waits.")
    assert found == MarkedSentence(
        text="A man in a red hat's brim waits.",
        tokens=("a", "man", "in", "a", "red", "hat", "'s", "brim", "waits", "."),
        phrases=("A man", "a red hat's brim"),
        token_spans=((0, 2), (3, 8)),
    )


def test_no_brackets_and_no_parser_give_no_phrases() -> None:
    assert find_phrases("A man waits.").phrases == ()


def parser(text: str) -> SimpleNamespace:
    """Finds `A man`, as a spaCy model would."""
    return SimpleNamespace(noun_chunks=[SimpleNamespace(start_char=0, end_char=len("A man"))])


def test_a_parser_is_asked_only_without_brackets() -> None:
    assert find_phrases("A man waits.", parser=parser).token_spans == ((0, 2),)  # type: ignore[arg-type]
    assert find_phrases("A man [waits].", parser=parser).phrases == ("waits",)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[A man", r"the last \[ is not closed"),
        ("A man]", r"bracket \] at character 6 has no partner"),
        ("[A [red] man]", r"bracket \[ at character 4"),
        ("a [ ] b", "holds no word"),
    ],
)
def test_wrong_brackets_are_named(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        find_phrases(text)


def test_a_model_that_is_not_installed_is_named() -> None:
    with pytest.raises(ConfigError, match=r"'en_core_web_none' cannot be loaded.*\[brackets\]"):
        load_parser("en_core_web_none")
