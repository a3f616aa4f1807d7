"""The summary network: one vector for a sequence of any length (eq. 4-6)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vltool.models.dropout import Dropout
from vltool.models.initialization import glorot_


class SummaryNetwork(nn.Module):
    """Attention by K score maps that look at one position at a time.

    width: of the features. hidden_width: d hidden units with ReLU. num_maps: K.
    """

    def __init__(self, width: int, *, hidden_width: int | None = None, num_maps: int = 4, dropout: float = 0.3) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, hidden_width or width)
        self.scores = nn.Linear(hidden_width or width, num_maps)
        self.dropout = Dropout(dropout)
        glorot_(self)

    def attention(self, features: Tensor, mask: Tensor) -> Tensor:
        """alpha of eq. 5: features (N, P, width), mask (N, P) -> (N, P), 0 at padding, sums to 1."""
        scores = self.scores(self.dropout(F.relu(self.hidden(features))))  # (N, P, K), eq. 4
        scores = scores.masked_fill(~mask[..., None], torch.finfo(scores.dtype).min)
        return scores.softmax(dim=1).mean(dim=-1)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """The weighted sum of the features (eq. 6): (N, P, width) -> (N, width)."""
        weights = self.attention(features, mask)  # (N, P)
        return (weights[:, None, :].to(features.dtype) @ features).squeeze(1)
