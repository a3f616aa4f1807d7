"""The answering decoder (eq. 8)."""

from __future__ import annotations

from collections.abc import Callable

import torch

from tests.models.decoders_of import answering
from vltool.models.dense_coattention import DenseCoattentionEncoder
from vltool.structures import JointState


def test_logits_are_an_mlp_of_both_summaries(state: JointState) -> None:
    decoder = answering().double().eval()
    regions = decoder.summary.summarize_regions(state.image, state.region_mask)
    words = decoder.summary.summarize_words(state.text, state.token_mask)
    expected = decoder.classify.answers(torch.relu(decoder.classify.hidden(torch.cat([regions, words], dim=1))))
    torch.testing.assert_close(decoder(state, {}), expected)
    assert expected.shape == (3, 7)


def test_dropout_acts_in_training_alone(state: JointState) -> None:
    decoder = answering(dropout=0.5).double()
    assert not torch.equal(decoder.train()(state, {}), decoder(state, {}))
    assert torch.equal(decoder.eval()(state, {}), decoder(state, {}))


def test_hidden_width_is_the_text_s_unless_given(make_encoder: Callable[..., DenseCoattentionEncoder]) -> None:
    encoder = make_encoder()
    assert encoder.build_classifier(14, 7).hidden.out_features == 8
    assert encoder.build_classifier(14, 7, hidden_width=20).answers.in_features == 20


def test_attention_is_that_of_both_summaries(state: JointState) -> None:
    regions, words = answering().double().eval().attention(state)
    assert regions.shape == (3, 5) and words.shape == (3, 4)
