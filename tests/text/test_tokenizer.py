"""Tokens, and the tokens of words that a dataset has separated."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vltool.errors import DataError
from vltool.text import tokenizer
from vltool.text.tokenizer import align, tokenize, tokenize_all, tokens_with_places


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("A man's T-shirt.", "a man 's t - shirt ."),
        ("Don't  look\n at it!", "do n't look at it !"),
        ("  ", ""),
        ("", ""),
        ("U.S. flag, 3:00 p.m.", "u.s. flag , 3:00 p.m."),
        ("Straße à Paris 🏍", "straße à paris 🏍"),
    ],
)
def test_lower_case_tokens_without_white_space(text: str, tokens: str) -> None:
    assert tokenize(text) == tuple(tokens.split())


def test_all_at_once_is_the_same_as_one_by_one() -> None:
    texts = ["A dog.", "", "Two dogs?", "A dog.", "x" * 450, "see http://a.b/c now"]
    assert tokenize_all(texts) == [tokenize(text) for text in texts]
    assert tokenize_all([]) == []


@pytest.mark.parametrize("piece", ["http://", "a-", "(a", "'s", "www.a.", "."])
def test_endless_runs_without_space_end(piece: str) -> None:
    text = "so " + piece * (20_000 // len(piece)) + " there"
    tokens = tokenize(text)
    assert tokens[0] == "so" and tokens[-1] == "there"
    assert "".join(tokens) == text.replace(" ", "")


def test_half_a_character_is_refused() -> None:
    with pytest.raises(DataError, match="surrogate"):
        tokenize("a \ud83c b")
    with pytest.raises(DataError, match="surrogate"):
        tokenize_all(["a", "\udfff"])


def test_words_that_are_split_keep_their_places() -> None:
    found = align(["Two", "T-shirts", "don't", "fit", "."])
    assert found.tokens == ("two", "t", "-", "shirts", "do", "n't", "fit", ".")
    assert found.word_spans == ((0, 1), (1, 4), (4, 6), (6, 7), (7, 8))
    assert found.span(0, 2) == (0, 4) and found.span(2, 1) == (4, 6)
    for first_word, num_words in ((4, 2), (-1, 1), (0, 0)):
        with pytest.raises(DataError, match="of a sentence of 5"):
            found.span(first_word, num_words)
    with pytest.raises(DataError, match="hold no token"):
        align(["a", "", "b"]).span(1, 1)


words = st.text(st.characters(exclude_categories=["Cs", "Z", "Cc"]), min_size=1, max_size=12)


@settings(max_examples=200, deadline=None)
@given(st.lists(words.filter(lambda word: not any(letter.isspace() for letter in word)), min_size=1, max_size=8))
def test_every_token_belongs_to_the_word_it_stands_in(sentence: list[str]) -> None:
    found = align(sentence)
    places = tokens_with_places(" ".join(sentence))
    starts = [sum(len(word) + 1 for word in sentence[:k]) for k in range(len(sentence) + 1)]
    for k, (first, last) in enumerate(found.word_spans):
        assert all(starts[k] <= token.start < starts[k + 1] for token in places[first:last])
    assert found.word_spans[0][0] == 0 and found.word_spans[-1][1] == len(found.tokens) == len(places)
    assert found.tokens == tokenize(" ".join(sentence))


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_any_text_gives_tokens_or_a_data_error(text: str) -> None:
    try:
        tokens = tokenize(text)
    except DataError:
        return
    assert all(token and not token.isspace() for token in tokens)
    assert tokens == tokenize_all([text])[0]


def test_many_texts_are_read_by_several_processes_with_the_same_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"the dog's {number}th T-shirt, isn't it?" for number in range(40)] + ["", "a\x1fb", "\n", "x" * 500]
    expected = tokenize_all(texts)
    monkeypatch.setattr(tokenizer, "MANY", 10)
    monkeypatch.setattr(tokenizer, "_PART", 15)
    monkeypatch.setattr(tokenizer, "num_cores", lambda: 2)
    assert tokenize_all(texts) == expected
