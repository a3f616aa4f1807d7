"""The matching decoder (eq. 7)."""

from __future__ import annotations

import torch

from tests.models.decoders_of import matching
from vltool.structures import JointState


def test_logits_are_the_bilinear_form_of_the_summaries(state: JointState) -> None:
    decoder = matching().double().eval()
    regions = decoder.summary.summarize_regions(state.image, state.region_mask)
    words = decoder.summary.summarize_words(state.text, state.token_mask)
    expected = torch.einsum("ni,ij,nj->n", regions, decoder.compare.compare.weight, words)
    torch.testing.assert_close(decoder(state, {}), expected)


def test_sides_may_differ_in_width(state: JointState) -> None:
    narrow = JointState(state.text[..., :3], state.image, state.token_mask, state.region_mask)
    assert matching(3, 8).double()(narrow, {}).shape == (3,)


def test_attention_is_that_of_both_summaries(state: JointState) -> None:
    regions, words = matching().double().eval().attention(state)
    assert regions.shape == (3, 5) and words.shape == (3, 4)
    torch.testing.assert_close(regions.sum(dim=1), words.sum(dim=1))
