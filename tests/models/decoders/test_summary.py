"""The summary network (eq. 4-6)."""

from __future__ import annotations

import torch

from vltool.models.decoders.summary import SummaryNetwork

FEATURES = torch.randn(3, 5, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
MASK = torch.arange(5) < torch.tensor([5, 2, 1])[:, None]


def make(num_maps: int = 4) -> SummaryNetwork:
    torch.manual_seed(0)
    return SummaryNetwork(6, num_maps=num_maps).double().eval()


def test_weights_sum_to_one_and_padding_has_none() -> None:
    weights = make().attention(FEATURES, MASK)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(3, dtype=torch.float64))
    assert (weights[~MASK] == 0).all() and (weights[MASK] > 0).all()


def test_one_row_written_out() -> None:
    network, features = make(), FEATURES[1, :2]
    scores = torch.relu(features @ network.hidden.weight.T + network.hidden.bias) @ network.scores.weight.T
    weights = (scores + network.scores.bias).softmax(dim=0).mean(dim=1)
    torch.testing.assert_close(network(FEATURES, MASK)[1], weights[0] * features[0] + weights[1] * features[1])


def test_a_single_position_is_its_own_summary() -> None:
    torch.testing.assert_close(make()(FEATURES, MASK)[2], FEATURES[2, 0])


def test_more_padding_changes_nothing() -> None:
    wide = torch.nn.functional.pad(FEATURES, (0, 0, 0, 4), value=9.0)
    wide_mask = torch.nn.functional.pad(MASK, (0, 4))
    torch.testing.assert_close(make()(wide, wide_mask), make()(FEATURES, MASK), rtol=0, atol=1e-12)
