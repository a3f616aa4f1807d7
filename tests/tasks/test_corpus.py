"""The words of a run on disk: vectors are looked up once for the same words and file, and half a corpus is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.miniature import miniature_prepared
from vltool.config import TextConfig
from vltool.errors import DataError
from vltool.tasks.corpus import build_corpus, load_corpus, save_corpus


def test_vectors_are_looked_up_again_only_when_words_or_file_change(tmp_path: Path) -> None:
    prepared, path, said = miniature_prepared(), tmp_path / "glove.txt", []
    path.write_text("red 1 2 3\nbox 4 5 6\n")
    config = TextConfig(glove=str(path), answer_threshold=0)
    first = build_corpus(prepared, config, before=tmp_path / "text")
    save_corpus(first, tmp_path / "text")
    again = build_corpus(prepared, config, before=tmp_path / "text", progress=said.append)
    assert "vectors of glove.txt: up to date" in said
    assert np.array_equal(again.vectors, first.vectors) and again.coverage == first.coverage
    path.write_text("red 1 2 3\nbox 4 5 7\n")
    changed = build_corpus(prepared, config, before=tmp_path / "text")
    assert not np.array_equal(changed.vectors, first.vectors)
    (tmp_path / "text" / "vectors.npy").write_bytes(b"")
    path.write_text("red 1 2 3\nbox 4 5 6\n")
    assert np.array_equal(build_corpus(prepared, config, before=tmp_path / "text").vectors, first.vectors)


@pytest.mark.parametrize("name", ["words.json", "vectors.npy", "coverage.json"])
def test_half_a_corpus_is_refused(tmp_path: Path, name: str) -> None:
    save_corpus(build_corpus(miniature_prepared(), TextConfig(answer_threshold=0)), tmp_path)
    load_corpus(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(DataError, match=r"no embedded text there .*Run: vltool embed-text CONFIG"):
        load_corpus(tmp_path)


def test_vectors_of_other_words_are_refused(tmp_path: Path) -> None:
    save_corpus(build_corpus(miniature_prepared(), TextConfig(answer_threshold=0)), tmp_path)
    np.save(tmp_path / "vectors.npy", np.zeros((3, 50), np.float32))
    with pytest.raises(DataError, match=r"vectors.npy: expected \d+ rows, found an array of \(3, 50\)"):
        load_corpus(tmp_path)
