"""The words of a run: tokens of every sentence, the vocabularies of training data, and the word vectors.

text/
  words.json      rows of the vectors: padding, unknown, then the words of training text; or word pieces
  answers.json    task → its answer pool
  tokens.json     sentence → tokens, for every split
  vectors.npy     (words, width) float32; of width 0 for word pieces, whose vectors the encoder learns
  vocab.txt       the word pieces, if it is of such: another run may name it as its text.wordpiece_vocab
  coverage.json   how many words the GloVe file covers, and the uncovered ones; written last. Its key is a digest of the
                  GloVe file's content and the words: while it stays the same, the vectors are not looked up again
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vltool.config import RunConfig, TextConfig
from vltool.errors import ConfigError, DataError
from vltool.json_files import read_json, whole_file, write_json
from vltool.tasks.network import wanted_frame
from vltool.tasks.prepare import SPLITS, PreparedTasks
from vltool.tasks.shared_decoders import answer_pools
from vltool.text.glove import content_key, load_vectors
from vltool.text.tokenizer import tokenize_all
from vltool.text.vocabulary import AnswerPool, Vocabulary
from vltool.text.wordpiece import UNKNOWN_PIECE, WordPieces
from vltool.text.words import Words, words_from_json

FILES = ("words.json", "answers.json", "tokens.json", "vectors.npy", "coverage.json")
VOCABULARY = "vocab.txt"
WORLD_VECTORS = Path(__file__).parents[1] / "world" / "glove.world.50d.txt"


@dataclass(frozen=True)
class Corpus:
    """Tokens and vocabularies of a run. token_ids: sentence → (T,) int64 rows of `vectors` (words, width)."""

    words: Words
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
        """Give each task the words, and its answer pool."""
        for task in prepared.tasks.values():
            task.learn_words(self.words)
        for name, pool in self.answers.items():
            if name in prepared.tasks:
                prepared.tasks[name].learn_answers(pool)


def check_words(config: RunConfig) -> None:
    """Raises ConfigError where the encoder reads other tokens than the text is split into, or a file is not there."""
    text, wanted = config.text, wanted_frame(config.encoder)
    if any(wanted) and text.tokenizer != "wordpiece":
        framed = " ".join((*wanted.before, "…", *wanted.after))
        raise ConfigError(f"encoder {config.encoder.name} reads word pieces as {framed}. Set text.tokenizer=wordpiece")
    if text.tokenizer == "wordpiece":
        if text.wordpiece_vocab and not Path(text.wordpiece_vocab).is_file():
            raise ConfigError(
                f"text.wordpiece_vocab: {text.wordpiece_vocab}: no such file. Name the vocab.txt of an uncased BERT, "
                "or leave it out: then word pieces are learned from training text"
            )
        return
    glove = Path(text.glove)
    there = text.glove == "world" or any(part.is_file() for part in (glove, *glove.parents))  # in an archive too
    if not there:
        raise ConfigError(f"text.glove: {text.glove}: no such file. Name a GloVe .txt or .zip, or 'world'")


def build_corpus(
    prepared: PreparedTasks,
    config: TextConfig,
    *,
    before: Path | None = None,
    progress: Callable[[str], None] | None = None,
    decoders: Mapping[str, str] | None = None,
) -> Corpus:
    """Tokenize every sentence of a run; vocabularies come from training examples only.

    before: a folder of `save_corpus`, whose vectors are taken if they are those of the same words and file content.
    decoders: task → the name of its decoder; those who share one have one answer pool.
    """
    say = progress or (lambda text: None)
    sentences = {split: list(dict.fromkeys(_sentences(prepared, split))) for split in SPLITS}
    everything = list(dict.fromkeys(sentence for split in SPLITS for sentence in sentences[split]))
    say(f"tokenizing {len(everything):,} sentences")
    words: Words
    if config.tokenizer == "wordpiece":
        words = word_pieces(sentences["train"], config, say=say)
        tokens = dict(zip(everything, words.tokenize_all(everything), strict=True))
        vectors, coverage = np.zeros((len(words), 0), np.float32), _coverage_of_pieces(tokens, config)
    else:
        tokens = dict(zip(everything, map(tuple, tokenize_all(everything)), strict=True))
        words = Vocabulary.build([tokens[sentence] for sentence in sentences["train"]], min_count=config.min_count)
        path = WORLD_VECTORS if config.glove == "world" else Path(config.glove)
        vectors, coverage = _vectors(path, words, before, say)
    if config.max_tokens:
        longer = sum(len(found) > config.max_tokens for found in tokens.values())
        say(f"{longer:,} of {len(tokens):,} sentences cut to {config.max_tokens} tokens")
        tokens = {sentence: found[: config.max_tokens] for sentence, found in tokens.items()}
        coverage = {**coverage, "cut": longer}
    answers = answer_pools(
        prepared.tasks,
        {name: splits["train"] for name, splits in prepared.examples.items()},
        decoders or {},
        threshold=config.answer_threshold,
    )
    return Corpus(words, vectors, tokens, answers, coverage)


def word_pieces(
    training: Sequence[str], config: TextConfig, *, say: Callable[[str], None] = lambda text: None
) -> WordPieces:
    """The vocabulary of pieces that a configuration names, or one learned from the training text. Raises DataError."""
    if config.wordpiece_vocab:
        return WordPieces.read(config.wordpiece_vocab)
    say(f"learning word pieces from {len(training):,} sentences")
    return WordPieces.learn(training, size=config.wordpiece_size, min_count=config.min_count)


def _coverage_of_pieces(tokens: Mapping[str, Sequence[str]], config: TextConfig) -> dict[str, Any]:
    """How many of the text's tokens the vocabulary knows."""
    unknown = sum(found.count(UNKNOWN_PIECE) for found in tokens.values())
    count = sum(map(len, tokens.values()))
    vocabulary = config.wordpiece_vocab or "learned from training text"
    return {"vocabulary": vocabulary, "words": count, "found": count - unknown, "missing": [], "num_bad_lines": 0}


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
    if isinstance(corpus.words, WordPieces):
        with whole_file(folder / VOCABULARY) as file:
            file.write("".join(f"{piece}\n" for piece in corpus.words).encode())
    write_json(folder / "coverage.json", corpus.coverage)


def load_corpus(folder: Path) -> Corpus:
    """The corpus that `embed-text` wrote. Raises DataError if it is not there or not whole."""
    try:
        tokens = {sentence: tuple(found) for sentence, found in read_json(folder / "tokens.json").items()}
        answers = {name: AnswerPool.from_json(found) for name, found in read_json(folder / "answers.json").items()}
        words = words_from_json(read_json(folder / "words.json"))
        vectors = np.load(folder / "vectors.npy", allow_pickle=False)
        if vectors.ndim != 2 or len(vectors) != len(words):
            raise DataError(f"vectors.npy: expected {len(words)} rows, found an array of {vectors.shape}")
        return Corpus(words, vectors, tokens, answers, read_json(folder / FILES[-1]))
    except (DataError, OSError, ValueError, EOFError, AttributeError, TypeError) as error:
        begun = "" if folder.is_absolute() else ", or go to where the run was begun: its paths are as seen from there"
        raise DataError(f"{folder}: no embedded text there ({error}). Run: vltool embed-text CONFIG{begun}") from error


def _sentences(prepared: PreparedTasks, split: str) -> Iterable[str]:
    for name in prepared.tasks:
        for example in prepared.examples[name][split]:
            for _, sentence in example.rows:
                yield sentence
