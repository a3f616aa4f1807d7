"""The words of a run: tokens of every sentence, the vocabularies of training data, and the word vectors.

text/
  words.json      rows of the vectors: padding, unknown, then the words of training text
  answers.json    task → its answer pool
  tokens.json     sentence → tokens, for every split
  vectors.npy     (words, width) float32
  coverage.json   how many words the GloVe file covers, and the uncovered ones
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vltool.config import TextConfig
from vltool.errors import DataError
from vltool.json_files import read_json, write_json
from vltool.metrics.answer_words import normalize_answer
from vltool.tasks.prepare import SPLITS, PreparedTasks
from vltool.text.glove import load_vectors
from vltool.text.tokenizer import tokenize_all
from vltool.text.vocabulary import AnswerPool, Vocabulary

WORLD_VECTORS = Path(__file__).parents[1] / "world" / "glove.world.50d.txt"


@dataclass(frozen=True)
class Corpus:
    """Tokens and vocabularies of a run. token_ids: sentence → (T,) int64 rows of `vectors` (words, width)."""

    words: Vocabulary
    vectors: np.ndarray
    tokens: dict[str, tuple[str, ...]]
    answers: dict[str, AnswerPool]
    coverage: dict[str, Any]

    @property
    def token_ids(self) -> dict[str, np.ndarray]:
        return {sentence: self.ids(tokens) for sentence, tokens in self.tokens.items()}

    def ids(self, tokens: Iterable[str]) -> np.ndarray:
        """(T,) rows of the vectors; words outside the training text get the unknown row."""
        return np.array(self.words.ids(tokens), np.int64)

    def teach(self, prepared: PreparedTasks) -> None:
        """Give each task its answer pool."""
        for name, pool in self.answers.items():
            if name in prepared.tasks:
                prepared.tasks[name].learn_answers(pool)


def build_corpus(
    prepared: PreparedTasks, config: TextConfig, *, progress: Callable[[str], None] | None = None
) -> Corpus:
    """Tokenize every sentence of a run; vocabularies come from training examples only."""
    say = progress or (lambda text: None)
    sentences = {split: list(dict.fromkeys(_sentences(prepared, split))) for split in SPLITS}
    everything = list(dict.fromkeys(sentence for split in SPLITS for sentence in sentences[split]))
    say(f"tokenizing {len(everything):,} sentences")
    tokens = dict(zip(everything, map(tuple, tokenize_all(everything)), strict=True))
    words = Vocabulary.build([tokens[sentence] for sentence in sentences["train"]], min_count=config.min_count)
    path = WORLD_VECTORS if config.glove == "world" else Path(config.glove)
    say(f"looking {len(words):,} words up in {path.name}")
    vectors, coverage = load_vectors(path, words)
    answers = {}
    for name, task in prepared.tasks.items():
        training = prepared.examples[name]["train"]
        found = task.answers(training)
        if found:
            answers[name] = AnswerPool.build(
                found,
                correct=task.correct_answers(training),
                threshold=config.answer_threshold,
                normalize=normalize_answer,
            )
    return Corpus(words, vectors, tokens, answers, coverage)


def save_corpus(corpus: Corpus, folder: Path) -> None:
    """Write the corpus; each file appears whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "words.json", corpus.words.to_json())
    write_json(folder / "answers.json", {name: pool.to_json() for name, pool in corpus.answers.items()})
    write_json(folder / "tokens.json", corpus.tokens)
    draft = folder / ".vectors.writing.npy"
    np.save(draft, corpus.vectors)
    os.replace(draft, folder / "vectors.npy")
    write_json(folder / "coverage.json", corpus.coverage)


def load_corpus(folder: Path) -> Corpus:
    """The corpus that `embed-text` wrote. Raises DataError if it is not there or not whole."""
    try:
        tokens = {sentence: tuple(found) for sentence, found in read_json(folder / "tokens.json").items()}
        answers = {name: AnswerPool.from_json(found) for name, found in read_json(folder / "answers.json").items()}
        words = Vocabulary.from_json(read_json(folder / "words.json"))
        vectors = np.load(folder / "vectors.npy", allow_pickle=False)
        return Corpus(words, vectors, tokens, answers, read_json(folder / "coverage.json"))
    except (DataError, OSError, ValueError) as error:
        raise DataError(f"{folder}: no embedded text there ({error}). Run: vltool embed-text CONFIG") from error


def _sentences(prepared: PreparedTasks, split: str) -> Iterable[str]:
    for name in prepared.tasks:
        for example in prepared.examples[name][split]:
            for _, sentence in example.rows:
                yield sentence
