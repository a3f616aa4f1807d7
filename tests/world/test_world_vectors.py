"""The word vectors that ship with the world: GloVe's format, every word of the language, and words kept apart."""

from __future__ import annotations

import numpy as np
import pytest

from vltool.world.caption_writer import SCENE_PHRASES
from vltool.world.phrases import NUMBER_WORDS, SHAPE_PLURALS, SIZE_WORDS, TEXTURE_WORDS
from vltool.world.questions import QUESTION_TYPES
from vltool.world.scene import COLOURS
from vltool.world.vectors import VECTORS_PATH, WIDTH, corpus, learn_vectors, split_words, write_vectors


@pytest.fixture(scope="module")
def vectors() -> dict[str, np.ndarray]:
    rows = (line.split(" ") for line in VECTORS_PATH.read_text(encoding="utf-8").splitlines())
    return {word: np.array([float(value) for value in values]) for word, *values in rows}


def test_file_is_small_and_every_line_has_fifty_numbers(vectors: dict[str, np.ndarray]) -> None:
    assert VECTORS_PATH.stat().st_size < 150_000
    assert all(vector.shape == (WIDTH,) for vector in vectors.values())
    assert len(vectors) == len(VECTORS_PATH.read_text(encoding="utf-8").splitlines())


def test_every_word_of_the_language_has_a_vector(vectors: dict[str, np.ndarray]) -> None:
    for seed in (0, 1):
        for sentence in corpus(num_scenes=250, seed=seed):
            assert set(sentence) <= set(vectors), sentence
    listed = [*COLOURS, *SHAPE_PLURALS, *SHAPE_PLURALS.values(), *NUMBER_WORDS[1:], "both", "all"]
    listed += [word for words in (*SIZE_WORDS.values(), *TEXTURE_WORDS.values()) for word in words]
    listed += [word for names in SCENE_PHRASES.values() for name in names for word in name.split()]
    listed += [word for kind in QUESTION_TYPES for word in kind.split()]
    assert set(listed) <= set(vectors)


def test_words_of_one_sort_can_be_told_apart(vectors: dict[str, np.ndarray]) -> None:
    for words in (COLOURS, tuple(SHAPE_PLURALS)[:6], tuple(TEXTURE_WORDS), ("small", "large"), NUMBER_WORDS[1:9]):
        directions = np.stack([vectors[word] / np.linalg.norm(vectors[word]) for word in words])
        assert (directions @ directions.T - 2 * np.eye(len(words))).max() < 0.85, words


def test_making_vectors_is_reproducible(tmp_path) -> None:
    for name in ("a", "b"):
        write_vectors(tmp_path / name, *learn_vectors(corpus(num_scenes=60, seed=2), width=20))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_sentences_are_split_into_small_words_and_marks() -> None:
    assert split_words("Is there a red star, or two?") == ["is", "there", "a", "red", "star", ",", "or", "two", "?"]
