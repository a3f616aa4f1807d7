"""Every decoder against the paper's equations as they stand, and against finite differences."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tests.models import straightforward
from tests.models.decoders_of import answering, matching
from vltool.models.decoders.grounding import GroundingDecoder
from vltool.structures import JointState

SPANS = torch.tensor([[[0, 2], [3, 4]], [[1, 2], [0, 0]], [[0, 3], [0, 0]]])
MASK = torch.tensor([[True, True], [True, False], [True, False]])
INPUTS = {"phrase_spans": SPANS, "phrase_mask": MASK}

DECODERS: dict[str, tuple[Callable[[], nn.Module], Callable[..., Tensor]]] = {
    "matching": (lambda: matching(num_maps=3, hidden_width=5), straightforward.match),
    "answering": (
        lambda: answering(num_maps=2, hidden_width=6, classifier_width=5),
        straightforward.answer,
    ),
    "grounding": (
        lambda: GroundingDecoder(8, 8),
        lambda decoder, state: straightforward.ground(decoder, state, SPANS, MASK),
    ),
}


def make(name: str) -> nn.Module:
    torch.manual_seed(0)
    return DECODERS[name][0]().double().eval()


@pytest.mark.parametrize("name", DECODERS)
def test_decoder_is_the_straightforward_one_with_its_gradients(name: str, state: JointState) -> None:
    decoder = make(name)
    inputs = [state.text.requires_grad_(), state.image.requires_grad_(), *decoder.parameters()]
    results = []
    for logits in (decoder(state, INPUTS), DECODERS[name][1](decoder, state)):
        results.append([logits, *torch.autograd.grad(logits.sin().sum(), inputs)])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", DECODERS)
def test_gradients_are_finite_differences(name: str, state: JointState) -> None:
    decoder = make(name)
    names = [found for found, _ in decoder.named_parameters()]

    def run(text: Tensor, image: Tensor, *parameters: Tensor) -> Tensor:
        given = JointState(text, image, state.token_mask, state.region_mask)
        return torch.func.functional_call(decoder, dict(zip(names, parameters, strict=True)), (given, INPUTS))

    inputs = (state.text.requires_grad_(), state.image.requires_grad_(), *decoder.parameters())
    assert torch.autograd.gradcheck(run, inputs, fast_mode=True)
