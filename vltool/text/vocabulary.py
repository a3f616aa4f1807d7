"""The words and the answers that training knows.

words.json     {"kind": "vocabulary", "min_count": 1, "words": ["<padding>", "<unknown>", "a", "the", …]}
answers.json   {"kind": "answers", "threshold": 8, "answers": ["yes", "no", …], "forms": {"Yes": 0, …}}
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from vltool.errors import ConfigError, DataError
from vltool.json_files import read_json, write_json
from vltool.text.tokenizer import AlignedTokens, Tokens, align, tokenize

PADDING = 0
UNKNOWN = 1
PADDING_WORD = "<padding>"
UNKNOWN_WORD = "<unknown>"


class Vocabulary(Sequence[str]):
    """Words and their rows: row 0 pads, row 1 stands for every word that training text does not hold."""

    def __init__(self, words: Iterable[str], *, min_count: int = 1):
        """words: without the two special ones. Raises DataError if one comes twice."""
        self.words = (PADDING_WORD, UNKNOWN_WORD, *words)
        self.min_count = min_count
        self._rows = {word: row for row, word in enumerate(self.words)}
        if len(self._rows) < len(self.words):
            twice = Counter(self.words).most_common(1)[0][0]
            raise DataError(f"vocabulary: the word {twice!r} has two rows")

    @classmethod
    def build(cls, tokenized: Iterable[Iterable[str]], *, min_count: int = 1) -> Vocabulary:
        """The words that come at least `min_count` times in training text; the most frequent first, then by letter."""
        counts = Counter(word for tokens in tokenized for word in tokens)
        for special in (PADDING_WORD, UNKNOWN_WORD):
            counts.pop(special, None)
        kept = (word for word, count in counts.items() if count >= min_count)
        return cls(sorted(kept, key=lambda word: (-counts[word], word)), min_count=min_count)

    def ids(self, tokens: Iterable[str]) -> list[int]:
        """The rows of tokens; a sentence without tokens is one unknown word, so that it can be attended to."""
        return [self._rows.get(token, UNKNOWN) for token in tokens] or [UNKNOWN]

    def tokenize(self, text: str) -> Tokens:
        """The words of a text, by spaCy."""
        return tokenize(text)

    def align(self, words: Sequence[str]) -> AlignedTokens:
        """The tokens of `" ".join(words)` and which of them each word became."""
        return align(words)

    def row(self, word: str) -> int:
        """The row of a special piece that an encoder wants. Raises ConfigError: words have none."""
        raise ConfigError(
            f"the encoder wants {word} around every sentence, which is a word piece. Set text.tokenizer=wordpiece"
        )

    def __len__(self) -> int:
        return len(self.words)

    def __getitem__(self, row: Any) -> Any:
        return self.words[row]

    def __iter__(self) -> Iterator[str]:
        return iter(self.words)

    def __contains__(self, word: object) -> bool:
        return word in self._rows

    @property
    def unknown_row(self) -> int:
        return UNKNOWN

    @property
    def mask_row(self) -> int:
        """What stands for a hidden word: where no row was made for that, the row of unknown words."""
        return UNKNOWN

    @property
    def special_rows(self) -> tuple[int, ...]:
        """Rows that stand for no word of a sentence."""
        return (PADDING,)

    @cached_property
    def word_rows(self) -> np.ndarray:
        """The rows of known words."""
        return np.setdiff1d(np.arange(len(self)), [self.unknown_row, self.mask_row, *self.special_rows])

    def to_json(self) -> dict[str, Any]:
        return {"kind": "vocabulary", "min_count": self.min_count, "words": list(self.words)}

    @classmethod
    def from_json(cls, content: Any, *, where: str = "vocabulary") -> Vocabulary:
        """What `to_json` gave. Raises DataError if it is something else."""
        words = listed(content, "vocabulary", "words", where)
        if words[:2] != [PADDING_WORD, UNKNOWN_WORD]:
            raise DataError(f"{where}: expected the first words {PADDING_WORD} and {UNKNOWN_WORD}, found {words[:2]}")
        return cls(words[2:], min_count=content.get("min_count", 1))

    def save(self, path: Path | str) -> None:
        """Write the vocabulary; the file appears whole or not at all."""
        write_json(path, self.to_json())

    @classmethod
    def load(cls, path: Path | str) -> Vocabulary:
        """The vocabulary in a file. Raises DataError."""
        return cls.from_json(read_json(path, next_step="Run: vltool embed-text CONFIG"), where=str(path))


class AnswerPool:
    """The answers that a question may get, and soft targets over them.

    The pool: answers that are the right answer of more than `threshold` training questions (section 5.1 of the paper;
    the count is that of preprocess/load_data.py of cvlab-tohoku/Dense-CoAttention-Network at 0bc2c2b). The soft target
    of an answer is what the official accuracy would give it: 0, .3, .6, .9, 1 for 0, 1, 2, 3, more of ten annotators.
    An annotator's own words are known in the forms that training holds; other spellings count as outside the pool.
    """

    def __init__(self, answers: Iterable[str], *, forms: Mapping[str, int], threshold: int = 8):
        """forms: annotators' own words → place in `answers`."""
        self.answers = tuple(answers)
        self.threshold = threshold
        self._places = {answer: place for place, answer in enumerate(self.answers)}
        self._forms = {**forms, **self._places}

    @classmethod
    def build(
        cls,
        annotated: Iterable[Sequence[str]],
        *,
        correct: Iterable[str] | None = None,
        threshold: int = 8,
        normalize: Callable[[str], str],
    ) -> AnswerPool:
        """The pool of training questions, the most frequent answer first, then by letter.

        annotated: the annotators' words of each question. correct: its one right answer where the dataset says it
        (VQA's multiple_choice_answer); else the answer of most annotators, of equals the first. normalize: the
        official normalisation (vltool.metrics.vqa_accuracy.normalize_answer).
        """
        questions = [tuple(words) for words in annotated]
        forms = {word: normalize(word) for words in questions for word in dict.fromkeys(words)}
        right = most_given(questions, normalize=normalize) if correct is None else correct
        counts = Counter(forms[word] if word in forms else normalize(word) for word in right)
        kept = sorted((word for word in counts if counts[word] > threshold), key=lambda word: (-counts[word], word))
        places = {answer: place for place, answer in enumerate(kept)}
        known = {word: places[plain] for word, plain in forms.items() if plain in places and word != plain}
        return cls(kept, forms=known, threshold=threshold)

    def place(self, answer: str) -> int | None:
        """The place of an annotator's answer in the pool; None if it is not there."""
        return self._forms.get(answer)

    def soft_targets(self, annotators: Sequence[str]) -> dict[int, float]:
        """Place in the pool → target above 0, from the annotators' answers to one question."""
        counts = Counter(place for place in map(self.place, annotators) if place is not None)
        return {place: soft_target(count, len(annotators)) for place, count in counts.items()}

    def __len__(self) -> int:
        return len(self.answers)

    def to_json(self) -> dict[str, Any]:
        forms = {word: place for word, place in self._forms.items() if word not in self._places}
        return {"kind": "answers", "threshold": self.threshold, "answers": list(self.answers), "forms": forms}

    @classmethod
    def from_json(cls, content: Any, *, where: str = "answer pool") -> AnswerPool:
        """What `to_json` gave. Raises DataError if it is something else."""
        answers = listed(content, "answers", "answers", where)
        forms = content.get("forms")
        if not isinstance(forms, dict) or not all(
            type(place) is int and 0 <= place < len(answers) for place in forms.values()
        ):
            raise DataError(f"{where}: 'forms' does not name places among the {len(answers)} answers")
        return cls(answers, forms=forms, threshold=content.get("threshold", 8))

    def save(self, path: Path | str) -> None:
        """Write the pool; the file appears whole or not at all."""
        write_json(path, self.to_json())

    @classmethod
    def load(cls, path: Path | str) -> AnswerPool:
        """The pool in a file. Raises DataError."""
        return cls.from_json(read_json(path, next_step="Run: vltool embed-text CONFIG"), where=str(path))


def most_given(annotated: Iterable[Sequence[str]], *, normalize: Callable[[str], str]) -> list[str]:
    """The answer that most annotators of each question gave, of equals the first; questions without any are left out.

    It stands as its first annotator wrote it; answers that normalize alike are the same.
    """
    right = []
    for words in annotated:
        counts = Counter(normalize(word) for word in words)
        right += [next(word for word in words if normalize(word) == best) for best, _ in counts.most_common(1)]
    return right


def soft_target(count: int, annotators: int) -> float:
    """What an answer of `count` of `annotators` is worth: the mean of min(1, others / 3), each left out in turn."""
    own, others = min(1.0, max(0, count - 1) / 3), min(1.0, count / 3)
    return round((count * own + (annotators - count) * others) / annotators, 10)


def listed(content: Any, kind: str, field: str, where: str) -> list[str]:
    """The words under `field` of a JSON object of this kind. Raises DataError for anything else."""
    if not isinstance(content, dict) or content.get("kind") != kind:
        raise DataError(f"{where}: expected an object of kind {kind!r}. Run: vltool embed-text CONFIG")
    words = content.get(field)
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise DataError(f"{where}: expected a list of words under {field!r}")
    if len(set(words)) < len(words):
        raise DataError(f"{where}: a word stands twice under {field!r}")
    return words
