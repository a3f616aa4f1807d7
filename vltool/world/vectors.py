"""Word vectors of the generated world's language, so that it can be learnt without a download.

`glove.world.50d.txt` beside this module is in GloVe's text format, a word and its numbers on a line:

    circle 0.13370 -0.70124 …

Half of a vector is the company a word keeps in the captions and questions of 3,000 scenes that no world of a usual
seed contains: counts of words within five words of each other, positive pointwise mutual information, its strongest
50 directions (Levy and Goldberg 2014, "Neural Word Embedding as Implicit Matrix Factorization"). But in this world red
and blue keep the same company, as do circles and squares, so company alone gives them nearly the same vector. The
other half is therefore a word's spelling, a sum over its character trigrams (as Bojanowski et al. 2017, "Enriching
Word Vectors with Subword Information"): it sets red apart from blue, and lets circle be near circles.

`python -m vltool.world.vectors` makes the file anew; other versions of the linear algebra may differ from it in the
last digit.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from zlib import crc32

import numpy as np

from vltool.world.captions import write_captions
from vltool.world.pairs import ask_in_pairs
from vltool.world.scene import generate_scene

VECTORS_PATH = Path(__file__).with_name("glove.world.50d.txt")
WIDTH = 50
CORPUS_SEED = 915_731  # not one that a person types
CORPUS_SCENES = 3000
_WINDOW = 5
_SMOOTHING = 0.75  # rare contexts are made less surprising (Levy, Goldberg and Dagan 2015, section 3.1)
_SPELLING_SHARE = 0.5  # of a vector's squared length
_LENGTH = 3.0  # of every vector: numbers of about 0.4, as in glove.6B.50d
_WORDS = re.compile(r"[a-z]+|[^\sa-z]")


def split_words(sentence: str) -> list[str]:
    """The sentence's words in small letters, punctuation marks apart."""
    return _WORDS.findall(sentence.lower())


def corpus(*, num_scenes: int = CORPUS_SCENES, seed: int = CORPUS_SEED) -> Iterator[list[str]]:
    """Captions and questions of so many scenes, each as its words."""
    scenes = [generate_scene(seed, number) for number in range(1, num_scenes + 1)]
    for scene in scenes:
        for caption in write_captions(scene):
            yield split_words(caption.sentence)
    questions, _ = ask_in_pairs(scenes, questions_per_image=8, seed=seed)
    for question in questions:
        yield split_words(question.text)


def learn_vectors(sentences: Iterable[Sequence[str]], *, width: int = WIDTH) -> tuple[list[str], np.ndarray]:
    """Words, the most frequent first, and their vectors (num_words, width) float64."""
    sentences = list(sentences)
    frequency: dict[str, int] = {}
    for sentence in sentences:
        for word in sentence:
            frequency[word] = frequency.get(word, 0) + 1
    words = sorted(frequency, key=lambda word: (-frequency[word], word))
    rows = {word: row for row, word in enumerate(words)}
    counts = np.zeros((len(words), len(words)))  # (V, V)
    for sentence in sentences:
        ids = [rows[word] for word in sentence]
        for distance in range(1, _WINDOW + 1):
            for a, b in zip(ids, ids[distance:], strict=False):
                counts[a, b] += 1 / distance
                counts[b, a] += 1 / distance
    left, strengths, _ = np.linalg.svd(_positive_mutual_information(counts))
    company = left[:, :width] * np.sqrt(strengths[:width])  # (V, width)
    # The sign of a direction is arbitrary: the largest entry is made positive, so that every machine agrees.
    company *= np.sign(company[np.abs(company).argmax(axis=0), np.arange(width)])
    spelling = np.stack([_spelling(word, width) for word in words])  # (V, width)
    mixed = np.sqrt(1 - _SPELLING_SHARE) * _unit(company) + np.sqrt(_SPELLING_SHARE) * _unit(spelling)
    return words, _LENGTH * _unit(mixed)


def write_vectors(path: Path, words: Sequence[str], vectors: np.ndarray) -> None:
    """Writes GloVe's text format, five decimals."""
    lines = (
        f"{word} {' '.join(f'{value:.5f}' for value in vector)}\n" for word, vector in zip(words, vectors, strict=True)
    )
    path.write_text("".join(lines), encoding="utf-8", newline="\n")


def _spelling(word: str, width: int) -> np.ndarray:
    """Sum of a fixed random direction for each character trigram of <word>: (width,)."""
    marked = f"<{word}>"
    trigrams = sorted({marked[start : start + 3] for start in range(len(marked) - 2)})
    return sum(
        (np.random.default_rng(crc32(trigram.encode())).standard_normal(width) for trigram in trigrams), np.zeros(width)
    )


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _positive_mutual_information(counts: np.ndarray) -> np.ndarray:
    """log p(a, b) / (p(a) p(b)) where it is positive, else 0; (V, V) from counts (V, V)."""
    contexts = counts.sum(axis=0) ** _SMOOTHING
    expected = counts.sum(axis=1, keepdims=True) * (contexts / contexts.sum())
    return np.log(np.maximum(counts / expected, 1.0))


if __name__ == "__main__":
    write_vectors(VECTORS_PATH, *learn_vectors(corpus()))
