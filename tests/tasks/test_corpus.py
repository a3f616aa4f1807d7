"""The words of a run on disk: vectors are looked up once for the same words and file, and half a corpus is none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.miniature import miniature_config, miniature_pieces, miniature_prepared
from vltool.config import EncoderConfig, TextConfig
from vltool.errors import ConfigError, DataError
from vltool.tasks.corpus import build_corpus, check_words, load_corpus, save_corpus
from vltool.tasks.network import build_network
from vltool.text.wordpiece import WordPieces


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


def test_word_pieces_are_learned_from_training_text_and_come_back(tmp_path: Path) -> None:
    prepared, said = miniature_prepared(), []
    config = TextConfig(tokenizer="wordpiece", wordpiece_size=60, answer_threshold=0)
    first = build_corpus(prepared, config, progress=said.append)
    save_corpus(first, tmp_path)
    loaded = load_corpus(tmp_path)
    assert list(loaded.words) == list(first.words) and loaded.tokens == first.tokens
    assert isinstance(loaded.words, WordPieces) and loaded.vectors.shape == (len(first.words), 0)
    sentence = next(iter(first.tokens))
    assert loaded.token_ids[sentence].tolist() == first.words.ids(first.words.tokenize(sentence))
    training = {s for splits in prepared.examples.values() for e in splits["train"] for _, s in e.rows}
    assert list(first.words) == list(WordPieces.learn(sorted(training, key=list(first.tokens).index), size=60))
    again = TextConfig(tokenizer="wordpiece", wordpiece_vocab=str(tmp_path / "vocab.txt"), answer_threshold=0)
    assert list(build_corpus(prepared, again).words) == list(first.words)


def test_long_sentences_are_cut_and_counted() -> None:
    said: list[str] = []
    corpus = build_corpus(miniature_prepared(), TextConfig(max_tokens=5, answer_threshold=0), progress=said.append)
    assert max(map(len, corpus.tokens.values())) == 5
    assert corpus.coverage["cut"] > 0
    assert f"{corpus.coverage['cut']} of {len(corpus.tokens)} sentences cut to 5 tokens" in said


def test_an_encoder_of_word_pieces_says_so_at_once() -> None:
    config = replace(miniature_config("nowhere"), encoder=EncoderConfig("vilbert"))
    with pytest.raises(
        ConfigError, match=r"vilbert reads word pieces as \[CLS\] <task> … \[SEP\].*text.tokenizer=word"
    ):
        check_words(config)
    check_words(replace(config, text=TextConfig(tokenizer="wordpiece")))
    with pytest.raises(ConfigError, match=r"text\.wordpiece_vocab: gone\.txt: no such file"):
        check_words(replace(config, text=TextConfig(tokenizer="wordpiece", wordpiece_vocab="gone.txt")))


def test_word_pieces_have_no_vectors_for_an_encoder_that_reads_some() -> None:
    prepared = miniature_prepared()
    pieces, config = miniature_pieces(prepared), miniature_config("nowhere")
    with pytest.raises(ConfigError, match=r"word pieces, which have none.*text\.tokenizer=spacy"):
        build_network(config.encoder, {}, {}, vectors=pieces.vectors, feature_dim=8, seed=0)
