"""Sentences to word pieces, as BERT's uncased models read them, and the vocabulary of pieces.

    "The man's T-shirts."  →  the man ' s t - shirt ##s .

Text is cleaned, lower-cased, stripped of accents, and split at white space, punctuation and every CJK character; a word
is then the longest pieces of the vocabulary from its start on, or [UNK] if there are none or it has over 100 letters.
A vocabulary is a `vocab.txt`, one piece a line (its number is its row), or is learned from training text.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property, lru_cache
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vltool.errors import DataError
from vltool.text.tokenizer import AlignedTokens, Tokens, check_unicode
from vltool.text.vocabulary import listed

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PADDING_PIECE, UNKNOWN_PIECE, START_PIECE, END_PIECE, MASK_PIECE = SPECIAL = (
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
)
CONTINUED = "##"
LONGEST_WORD = 100
_AT_ONCE = 10_000
_MOST_CASED = 0.05  # share of pieces with capitals, from which on a vocabulary is one of a cased model


class WordPieces(Sequence[str]):
    """A vocabulary of word pieces, which also splits text into them."""

    def __init__(self, pieces: Iterable[str], *, where: str = "vocabulary"):
        """Raises DataError where a piece comes twice, or one that BERT needs is missing."""
        self.pieces = tuple(pieces)
        self._rows = {piece: row for row, piece in enumerate(self.pieces)}
        if len(self._rows) < len(self.pieces):
            raise DataError(f"{where}: the piece {Counter(self.pieces).most_common(1)[0][0]!r} has two rows")
        missing = [piece for piece in SPECIAL if piece not in self._rows]
        if missing:
            raise DataError(f"{where}: no {' and no '.join(missing)} in it: not a vocabulary of word pieces")
        cased = sum(piece != piece.lower() and piece not in SPECIAL for piece in self.pieces)
        if cased > _MOST_CASED * len(self.pieces):
            raise DataError(
                f"{where}: {cased:,} of {len(self.pieces):,} pieces have capitals, and text is lower-cased here. Take "
                "the vocabulary of an uncased model"
            )

    @classmethod
    def read(cls, path: Path | str) -> WordPieces:
        """The vocabulary in a `vocab.txt`. Raises DataError."""
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: cannot be read as a vocabulary: {error}") from error
        return cls([line.rstrip("\r") for line in text.removesuffix("\n").split("\n")], where=str(path))

    @classmethod
    def learn(cls, texts: Iterable[str], *, size: int, min_count: int = 1) -> WordPieces:
        """At most `size` pieces learned from training text, the same ones whenever the text is.

        First every letter that it has, alone and inside a word; then, one after the other, the two neighbouring pieces
        that stand together most often, as one. min_count: times that these must be seen.
        """
        from tokenizers.trainers import WordPieceTrainer

        found = list(texts)
        for text in found:
            check_unicode(text)
        splitter = _tokenizer({UNKNOWN_PIECE: 0})
        letters = sorted(_letters(splitter, found))
        # Named in order, the letters keep it: the trainer itself would number them as they fall out of a hash table,
        # and break ties by these numbers.
        ordered = [*SPECIAL, *letters, *(CONTINUED + letter for letter in letters)]
        if size < len(ordered):
            raise DataError(
                f"text.wordpiece_size is {size:,}: the training text's {len(letters):,} letters, at the start of a "
                f"word and inside, take {len(ordered):,}. Set it to more"
            )
        trainer = WordPieceTrainer(
            vocab_size=size, min_frequency=min_count, special_tokens=ordered, show_progress=False
        )
        splitter.train_from_iterator(found, trainer)
        learned = splitter.get_vocab()
        return cls(sorted(learned, key=lambda piece: learned[piece]))

    def tokenize(self, text: str) -> Tokens:
        """The pieces of a text, at most none. Raises DataError if it is not Unicode."""
        check_unicode(text)
        return tuple(self._splitter.encode(text, add_special_tokens=False).tokens)

    def tokenize_all(self, texts: Iterable[str]) -> list[Tokens]:
        """The pieces of each text, in order."""
        ordered = list(texts)
        for text in ordered:
            check_unicode(text)
        parts = (ordered[start : start + _AT_ONCE] for start in range(0, len(ordered), _AT_ONCE))
        encoded = (self._splitter.encode_batch(part, add_special_tokens=False) for part in parts)
        return [tuple(found.tokens) for part in encoded for found in part]

    def align(self, words: Sequence[str]) -> AlignedTokens:
        """The pieces of `" ".join(words)` and which of them each word became, for phrases counted in words."""
        return self._align(tuple(words))

    def ids(self, tokens: Iterable[str]) -> list[int]:
        """The rows of pieces; a sentence without pieces is one unknown piece, so that it can be attended to."""
        unknown = self._rows[UNKNOWN_PIECE]
        return [self._rows.get(token, unknown) for token in tokens] or [unknown]

    def row(self, piece: str) -> int:
        """The row of a piece. Raises DataError if there is none."""
        if piece not in self._rows:
            raise DataError(f"the vocabulary has no piece {piece!r}")
        return self._rows[piece]

    def __len__(self) -> int:
        return len(self.pieces)

    def __getitem__(self, row: Any) -> Any:
        return self.pieces[row]

    def __iter__(self) -> Iterator[str]:
        return iter(self.pieces)

    def __contains__(self, piece: object) -> bool:
        return piece in self._rows

    @property
    def unknown_row(self) -> int:
        return self._rows[UNKNOWN_PIECE]

    @property
    def mask_row(self) -> int:
        """What stands for a hidden piece."""
        return self._rows[MASK_PIECE]

    @property
    def special_rows(self) -> tuple[int, ...]:
        """Rows that stand for no piece of a sentence."""
        return tuple(self._rows[piece] for piece in (PADDING_PIECE, START_PIECE, END_PIECE))

    @cached_property
    def word_rows(self) -> np.ndarray:
        """The rows of known pieces."""
        return np.setdiff1d(np.arange(len(self)), [self.unknown_row, self.mask_row, *self.special_rows])

    def to_json(self) -> dict[str, Any]:
        return {"kind": "word pieces", "pieces": list(self.pieces)}

    @classmethod
    def from_json(cls, content: Any, *, where: str = "vocabulary") -> WordPieces:
        """What `to_json` gave. Raises DataError if it is something else."""
        return cls(listed(content, "word pieces", "pieces", where), where=where)

    @cached_property
    def _splitter(self) -> Tokenizer:
        return _tokenizer(self._rows)

    @cached_property
    def _align(self) -> Any:
        @lru_cache(maxsize=65536)
        def align(words: tuple[str, ...]) -> AlignedTokens:
            text = " ".join(words)
            check_unicode(text)
            found = self._splitter.encode(text, add_special_tokens=False)
            starts = [start for start, _ in found.offsets]
            ends = accumulate(len(word) + 1 for word in words)  # where each next word begins
            bounds = [0, *(bisect_right(starts, end - 1) for end in ends)]
            return AlignedTokens(tuple(found.tokens), tuple(pairwise(bounds)))

        return align


def _tokenizer(rows: dict[str, int]) -> Tokenizer:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    model = models.WordPiece(
        rows,
        unk_token=UNKNOWN_PIECE,
        max_input_chars_per_word=LONGEST_WORD,
        continuing_subword_prefix=CONTINUED,
    )
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=True, lowercase=True
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def _letters(splitter: Tokenizer, texts: Iterable[str]) -> set[str]:
    """Every letter of the cleaned text's words."""
    return {
        letter
        for text in texts
        for word, _ in splitter.pre_tokenizer.pre_tokenize_str(splitter.normalizer.normalize_str(text))
        for letter in word
    }
