"""The grounding decoder (eq. 9 and 10)."""

from __future__ import annotations

import torch

from vltool.models.decoders.grounding import GroundingDecoder, phrase_features
from vltool.structures import JointState

SPANS = torch.tensor([[[0, 2], [3, 4]], [[1, 2], [0, 0]], [[0, 3], [0, 0]]])
MASK = torch.tensor([[True, True], [True, False], [True, False]])


def test_a_phrase_is_the_mean_of_its_words(state: JointState) -> None:
    phrases = phrase_features(state.text, SPANS, MASK)
    torch.testing.assert_close(phrases[0, 0], (state.text[0, 0] + state.text[0, 1]) / 2)
    torch.testing.assert_close(phrases[0, 1], state.text[0, 3])
    torch.testing.assert_close(phrases[2, 0], state.text[2, :3].mean(dim=0))
    assert (phrases[~MASK] == 0).all()


def test_logits_compare_every_phrase_with_every_region(state: JointState) -> None:
    decoder = GroundingDecoder(8, 8).double()
    logits = decoder(state, {"phrase_spans": SPANS, "phrase_mask": MASK})
    assert logits.shape == (3, 2, 5) and logits.isfinite().all()
    expected = state.text[0, 3] @ decoder.compare.weight @ state.image[0, 4]
    torch.testing.assert_close(logits[0, 1, 4], expected)


def test_spans_of_padded_phrases_are_not_read(state: JointState) -> None:
    decoder = GroundingDecoder(8, 8).double()
    strange = torch.where(MASK[..., None], SPANS, torch.tensor([1, 3]))
    first, second = (decoder(state, {"phrase_spans": spans, "phrase_mask": MASK}) for spans in (SPANS, strange))
    torch.testing.assert_close(first, second)


def test_sides_may_differ_in_width(state: JointState) -> None:
    narrow = JointState(state.text[..., :3], state.image, state.token_mask, state.region_mask)
    logits = GroundingDecoder(3, 8).double()(narrow, {"phrase_spans": SPANS, "phrase_mask": MASK})
    assert logits.shape == (3, 2, 5)
