"""What the encoder wants around sentences: the batch holds it, and tasks count their own tokens without it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.miniature import Pictures, miniature_config, miniature_pieces, miniature_prepared
from vltool.config import EncoderConfig, RunConfig
from vltool.errors import ConfigError
from vltool.tasks.batching import Batching
from vltool.tasks.network import sentence_frames, task_rows


def config_of(**options: object) -> RunConfig:
    return replace(miniature_config("nowhere"), encoder=EncoderConfig("vilbert", options))


def test_every_sentence_stands_between_cls_with_its_task_s_token_and_sep() -> None:
    prepared = miniature_prepared()
    corpus = miniature_pieces(prepared)
    batching = Batching(Pictures(), corpus.tokens, corpus.token_ids, frames=sentence_frames(config_of(), corpus.words))
    size = len(corpus.words)
    for row, name in enumerate(("caption_retrieval", "vqa", "grounding")):
        examples = prepared.examples[name]["train"][:3]
        batch, views = batching.batch(prepared.tasks[name], examples)
        for place, example in enumerate(examples):
            sentence = example.rows[0][1]
            tokens = batch.tokens[batch.rows[place, 1]][batch.token_mask[batch.rows[place, 1]]].tolist()
            assert tokens == [2, size + row, *corpus.words.ids(corpus.words.tokenize(sentence)), 3]
            assert views[place].tokens == corpus.tokens[sentence]
        alone, mask = batching.sentences([examples[0].rows[0][1]], task=name)
        assert torch.equal(alone[0, mask[0]], batch.tokens[0, batch.token_mask[0]])


def test_an_encoder_without_a_frame_reads_sentences_alone() -> None:
    corpus = miniature_pieces(miniature_prepared())
    assert sentence_frames(miniature_config("nowhere"), corpus.words) == {}
    assert sentence_frames(config_of(num_task_tokens=0), corpus.words)["vqa"] == ((2,), (3,))


def test_phrases_are_spans_of_pieces() -> None:
    prepared = miniature_prepared()
    corpus = miniature_pieces(prepared)
    task, examples = prepared.tasks["grounding"], prepared.examples["grounding"]["train"][:1]
    batching = Batching(Pictures(), corpus.tokens, corpus.token_ids, frames=sentence_frames(config_of(), corpus.words))
    batch, views = batching.batch(task, examples)
    words = examples[0].target.tokens
    for phrase, (start, end) in zip(examples[0].target.phrases, batch.inputs["phrase_spans"][0].tolist(), strict=False):
        said = " ".join(words[phrase.first_word : phrase.first_word + phrase.num_words])
        assert "".join(views[0].tokens[start:end]).replace("##", "") == said.replace(" ", "")


def test_rows_of_task_tokens() -> None:
    assert task_rows(("a", "b", "c"), {}, num_rows=3) == {"a": 0, "b": 1, "c": 2}
    assert task_rows(("a", "b", "c"), {"b": 0}, num_rows=20) == {"a": 1, "b": 0, "c": 2}
    with pytest.raises(ConfigError, match=r"task_rows\.z: the run has no such task, but a, b"):
        task_rows(("a", "b"), {"z": 0}, num_rows=3)
    for named, num_rows in (({}, 2), ({"a": 5}, 3), ({"a": 1, "b": 1}, 3)):
        with pytest.raises(ConfigError, match="3 tasks need different rows below"):
            task_rows(("a", "b", "c"), named, num_rows=num_rows)


def test_task_rows_stand_in_the_tokens() -> None:
    corpus = miniature_pieces(miniature_prepared())
    frames = sentence_frames(config_of(task_rows={"grounding": 7}), corpus.words)
    assert frames["grounding"].before[1] == len(corpus.words) + 7
