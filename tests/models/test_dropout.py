"""Dropout with masks from 64-bit draws."""

from __future__ import annotations

import pytest
import torch

from vltool.errors import ConfigError
from vltool.models.dropout import Dropout


def test_share_of_zeros_and_mean_are_right() -> None:
    torch.manual_seed(0)
    dropped = Dropout(0.3)(torch.ones(999, 1001))
    assert abs((dropped == 0).float().mean().item() - 0.3) < 2e-3
    assert abs(dropped.mean().item() - 1) < 2e-3
    assert dropped.unique().numel() == 2


def test_gradient_goes_where_the_features_went() -> None:
    features = torch.randn(40, 40).requires_grad_()
    dropped = Dropout(0.5)(features)
    dropped.sum().backward()
    assert features.grad is not None
    torch.testing.assert_close(features.grad * features, dropped)


def test_same_seed_same_mask_and_another_each_time() -> None:
    dropout, features = Dropout(0.5), torch.ones(101)
    torch.manual_seed(3)
    first, second = dropout(features), dropout(features)
    torch.manual_seed(3)
    assert torch.equal(dropout(features), first) and not torch.equal(first, second)


def test_dropping_in_place_is_the_same_dropout_before_its_scale() -> None:
    dropout, features = Dropout(0.3), torch.rand(50, 21)
    torch.manual_seed(3)
    expected = dropout(features)
    torch.manual_seed(3)
    scale = dropout.drop_(features)
    torch.testing.assert_close(features * scale, expected)
    assert dropout.eval().drop_(features) == 1.0


def test_evaluation_leaves_everything() -> None:
    features = torch.randn(10)
    assert Dropout(0.9).eval()(features) is features
    assert Dropout(0.0).train()(features) is features


@pytest.mark.parametrize("probability", [-0.1, 1.0, 3])
def test_impossible_probabilities_are_refused(probability: float) -> None:
    with pytest.raises(ConfigError, match="dropout of"):
        Dropout(probability)
