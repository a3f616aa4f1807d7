"""The words of a run: tokens of every sentence, the vocabularies of training data, and the word vectors.

text/
  words.json      rows of the vectors: padding, unknown, then the words of training text
  answers.json    task → its answer pool
  tokens.json     sentence → tokens, for every split
  vectors.npy     (words, width) float32
  coverage.json   how many words the GloVe file covers, and the uncovered ones; written last. Its key is a digest of the
                  GloVe file's content and the words: while it stays the same, the vectors are not looked up again
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vltool.config import TextConfig
from vltool.errors import DataError
from vltool.json_files import read_json, whole_file, write_json
from vltool.tasks.prepare import SPLITS, PreparedTasks
from vltool.text.glove import content_key, load_vectors
from vltool.text.tokenizer import tokenize_all
from vltool.text.vocabulary import AnswerPool, Vocabulary

FILES = ("words.json", "answers.json", "tokens.json", "vectors.npy", "coverage.json")
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
    prepared: PreparedTasks,
    config: TextConfig,
    *,
    before: Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> Corpus:
    """Tokenize every sentence of a run; vocabularies come from training examples only.

    before: a folder of `save_corpus`, whose vectors are taken if they are those of the same words and file content.
    """
    say = progress or (lambda text: None)
    sentences = {split: list(dict.fromkeys(_sentences(prepared, split))) for split in SPLITS}
    everything = list(dict.fromkeys(sentence for split in SPLITS for sentence in sentences[split]))
    say(f"tokenizing {len(everything):,} sentences")
    tokens = dict(zip(everything, map(tuple, tokenize_all(everything)), strict=True))
    words = Vocabulary.build([tokens[sentence] for sentence in sentences["train"]], min_count=config.min_count)
    path = WORLD_VECTORS if config.glove == "world" else Path(config.glove)
    vectors, coverage = _vectors(path, words, before, say)
    answers = {}
    for name, task in prepared.tasks.items():
        training = prepared.examples[name]["train"]
        found = task.answers(training)
        if found:
            answers[name] = AnswerPool.build(
                found,
                correct=task.correct_answers(training),
                threshold=config.answer_threshold,
                normalize=task.normalize_answer,
            )
    return Corpus(words, vectors, tokens, answers, coverage)


def _vectors(
    path: Path, words: Vocabulary, before: Path | None, say: Callable[[str], None]
) -> tuple[np.ndarray, dict[str, Any]]:
    key = content_key(path, words)
    if before is not None and (before / FILES[-1]).exists():
        try:
            coverage = read_json(before / FILES[-1])
            if coverage.get("key") == key:
                vectors = np.load(before / "vectors.npy", allow_pickle=False)
                if vectors.shape == (len(words), coverage["dim"]):
                    say(f"vectors of {path.name}: up to date")
                    return vectors, coverage
        except (DataError, OSError, ValueError, EOFError, AttributeError):
            pass  # damaged: look the words up again
    say(f"looking {len(words):,} words up in {path.name}")
    vectors, coverage = load_vectors(path, words)
    return vectors, {**coverage, "key": key}


def save_corpus(corpus: Corpus, folder: Path) -> None:
    """Write the corpus; each file appears whole or not at all, the coverage last: without it nothing else counts."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILES[-1]).unlink(missing_ok=True)
    write_json(folder / "words.json", corpus.words.to_json())
    write_json(folder / "answers.json", {name: pool.to_json() for name, pool in corpus.answers.items()})
    write_json(folder / "tokens.json", corpus.tokens)
    with whole_file(folder / "vectors.npy") as file:
        np.save(file, corpus.vectors)
    write_json(folder / "coverage.json", corpus.coverage)


def load_corpus(folder: Path) -> Corpus:
    """The corpus that `embed-text` wrote. Raises DataError if it is not there or not whole."""
    try:
        tokens = {sentence: tuple(found) for sentence, found in read_json(folder / "tokens.json").items()}
        answers = {name: AnswerPool.from_json(found) for name, found in read_json(folder / "answers.json").items()}
        words = Vocabulary.from_json(read_json(folder / "words.json"))
        vectors = np.load(folder / "vectors.npy", allow_pickle=False)
        if vectors.ndim != 2 or len(vectors) != len(words):
            raise DataError(f"vectors.npy: expected {len(words)} rows, found an array of {vectors.shape}")
        return Corpus(words, vectors, tokens, answers, read_json(folder / FILES[-1]))
    except (DataError, OSError, ValueError, EOFError, AttributeError, TypeError) as error:
        raise DataError(f"{folder}: no embedded text there ({error}). Run: vltool embed-text CONFIG") from error


def _sentences(prepared: PreparedTasks, split: str) -> Iterable[str]:
    for name in prepared.tasks:
        for example in prepared.examples[name][split]:
            for _, sentence in example.rows:
                yield sentence
