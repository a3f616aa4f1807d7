"""Word pieces: how text falls into them, vocabularies from files and from text."""

from __future__ import annotations

import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from vltool.errors import ConfigError, DataError
from vltool.text.vocabulary import Vocabulary
from vltool.text.wordpiece import SPECIAL, WordPieces
from vltool.text.words import words_from_json

PIECES = (
    *SPECIAL,
    *[
        "the",
        "man",
        "a",
        "cafe",
        "man's",
        "shirt",
        "ball",
        "##s",
        "##ing",
        "play",
        "t",
        "dog",
        "[",
        "]",
        "cls",
        "'",
        "-",
        ".",
        ",",
        "!",
    ],
    "你",
    "##你",
    "##t",
    "##a",
)


@pytest.fixture
def words() -> WordPieces:
    return WordPieces(PIECES)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("The man's T-shirts.", "the man ' s? t - shirt ##s ."),
        ("Café, CAFÉ!", "cafe , cafe !"),
        (unicodedata.normalize("NFD", "café"), "cafe"),
        ("playing balls", "play ##ing ball ##s"),
        ("dog你dog", "dog 你 dog"),
        ("the\tman\r\nthe\u00a0man", "the man the man"),
        ("the\x00 ma\u200dn\ufffd", "the man"),
        ("[CLS]", "[ cls ]"),
        ("the zebra", "the [UNK]"),
        ("t" * 100, " ".join(["t", *["##t"] * 99])),
        ("t" * 101, "[UNK]"),
        ("", ""),
        ("  ", ""),
    ],
)
def test_text_falls_into_pieces_as_bert_reads_it(words: WordPieces, text: str, pieces: str) -> None:
    expected = tuple("[UNK]" if piece == "s?" else piece for piece in pieces.split())
    assert words.tokenize(text) == expected
    assert words.tokenize_all(["the", text]) == [("the",), expected]


def test_longest_pieces_come_first_and_a_word_is_whole_or_unknown() -> None:
    words = WordPieces([*SPECIAL, "un", "##aff", "##able", "una", "##ffable"])
    assert words.tokenize("unaffable") == ("una", "##ffable")  # not un ##aff ##able
    assert words.tokenize("unaffab") == ("[UNK]",)


def straightforward(text: str, vocabulary: set[str]) -> list[str]:
    """The rules as they are written down: clean, lower, strip accents, split, then the longest piece first."""
    cleaned = []
    for letter in text:
        if letter in "\t\n\r" or unicodedata.category(letter) == "Zs":
            cleaned.append(" ")
        elif ord(letter) not in (0, 0xFFFD) and not unicodedata.category(letter).startswith("C"):
            cleaned.append(f" {letter} " if "\u4e00" <= letter <= "\u9fff" else letter)
    stripped = "".join(
        c for c in unicodedata.normalize("NFD", "".join(cleaned).lower()) if unicodedata.category(c) != "Mn"
    )
    spaced = "".join(
        f" {c} "
        if (c.isascii() and c.isprintable() and not c.isalnum() and c != " ") or unicodedata.category(c)[0] == "P"
        else c
        for c in stripped
    )
    found = []
    for word in spaced.split():
        start, pieces = 0, []
        while start < len(word) and len(word) <= 100:
            end = next(
                (e for e in range(len(word), start, -1) if ("##" * (start > 0)) + word[start:e] in vocabulary), 0
            )
            if not end:
                break
            pieces.append(("##" * (start > 0)) + word[start:end])
            start = end
        found += pieces if start == len(word) else ["[UNK]"]
    return found


TEXTS = [
    "Two dogs, playing with the man's T-shirt... Wow!!",
    "naïve façade — “quoted” 50% off @home #1",
    "Ångström ÀÉÎÕÜ ñandú 犬が好き dog's",
    "a_b c+d=e <tag> (x) [y] {z} ~`^| ¿qué?",
    "ﬁne ligature İstanbul ß",
]


def test_pieces_are_those_of_the_rules_as_written() -> None:
    letters = {c for text in TEXTS for c in unicodedata.normalize("NFD", text.lower())}
    some = {"dog", "##s", "play", "##ing", "shirt", "##la", "ca", "##de", "##gra"}
    vocabulary = [*SPECIAL, *sorted(some | (letters - {" "}) | {f"##{c}" for c in letters - {" "}})]
    words = WordPieces(vocabulary)
    for text in TEXTS:
        assert list(words.tokenize(text)) == straightforward(text, set(vocabulary)), text


def test_ids_are_rows_of_the_file(tmp_path: Path, words: WordPieces) -> None:
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    read = WordPieces.read(path)
    assert tuple(read) == PIECES and read.ids(("the", "zebra")) == [5, 1]
    assert (read.row("[CLS]"), read.row("[SEP]")) == (2, 3)
    assert read.ids(()) == [1]  # a sentence without pieces can be attended to
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert tuple(WordPieces.read(path)) == PIECES


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("the\nman\n", r"no \[PAD\] and no \[UNK\].*: not a vocabulary of word pieces"),
        ("\n".join([*SPECIAL, "the", "the"]), "'the' has two rows"),
        ("\n".join([*SPECIAL, "The", "the", "Man"]), "2 of 8 pieces have capitals.*uncased"),
    ],
)
def test_a_vocabulary_that_cannot_be_right_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "vocab.txt"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message) as refused:
        WordPieces.read(path)
    assert str(path) in str(refused.value)
    with pytest.raises(DataError, match="cannot be read as a vocabulary"):
        WordPieces.read(tmp_path / "gone.txt")


def test_words_of_a_dataset_keep_their_pieces(words: WordPieces) -> None:
    aligned = words.align(("the", "dog's", "\u200b", "balls", "playing"))
    assert aligned.tokens == ("the", "dog", "'", "[UNK]", "ball", "##s", "play", "##ing")
    assert aligned.span(1, 1) == (1, 4) and aligned.span(3, 2) == (4, 8)
    with pytest.raises(DataError, match="hold no token"):
        aligned.span(2, 1)


LEARN = (
    "from vltool.text.wordpiece import WordPieces;"
    "texts = ['red squares and blue circles', 'a bluish square', 'redder, reddish circles!'] * 3;"
    "print(list(WordPieces.learn(texts, size=70)))"
)


def test_the_same_text_teaches_the_same_pieces() -> None:
    """The library's trainer alone orders them by a hash table, another one in every process."""
    said = {
        subprocess.run([sys.executable, "-c", LEARN], capture_output=True, text=True, check=True).stdout
        for _ in range(3)
    }
    assert len(said) == 1
    words = WordPieces.learn(
        ["red squares and blue circles", "a bluish square", "redder, reddish circles!"] * 3, size=70
    )
    assert said == {f"{list(words)}\n"}
    assert tuple(words)[:5] == SPECIAL and len(words) <= 70
    assert "[UNK]" not in words.tokenize("Squared blues rid")  # every letter is known, at a start and inside a word


def test_too_few_pieces_for_the_letters_say_how_many_are_needed() -> None:
    with pytest.raises(DataError, match=r"text\.wordpiece_size is 8: the training text's 3 letters.* take 11"):
        WordPieces.learn(["abc"], size=8)


def test_half_a_surrogate_pair_is_no_text(words: WordPieces) -> None:
    for read in (words.tokenize, lambda text: words.tokenize_all([text]), lambda text: words.align([text])):
        with pytest.raises(DataError, match="surrogate"):
            read("a \ud83d")


def test_either_vocabulary_comes_back_from_json(words: WordPieces) -> None:
    assert tuple(words_from_json(words.to_json())) == PIECES
    assert isinstance(words_from_json(Vocabulary(["a"]).to_json()), Vocabulary)
    with pytest.raises(DataError, match="expected an object of kind"):
        words_from_json({"kind": "other"})


def test_whole_words_have_no_special_pieces() -> None:
    with pytest.raises(ConfigError, match=r"wants \[CLS\].*text\.tokenizer=wordpiece"):
        Vocabulary(["a"]).row("[CLS]")
