"""The vocabulary of a run, of whole words or of word pieces: it knows how its text is split."""

from __future__ import annotations

from typing import Any

from vltool.text.vocabulary import Vocabulary
from vltool.text.wordpiece import WordPieces

Words = Vocabulary | WordPieces


def words_from_json(content: Any, *, where: str = "vocabulary") -> Words:
    """What `to_json` of either gave. Raises DataError if it is something else."""
    if isinstance(content, dict) and content.get("kind") == "word pieces":
        return WordPieces.from_json(content, where=where)
    return Vocabulary.from_json(content, where=where)
