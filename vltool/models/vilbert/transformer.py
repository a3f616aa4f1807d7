"""One stream's parts: attention by heads, and the layers of BERT that normalise after adding.

Shapes: N rows of P positions. Every map has a bias; LayerNorm's epsilon is BERT's.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from vltool.errors import ConfigError
from vltool.models.dropout import Dropout
from vltool.models.linear import Linear

EPSILON = 1e-12


def attend(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor, *, num_heads: int, dropout: float = 0.0
) -> Tensor:
    """softmax(Q Kᵀ / sqrt(d_h)) V of each head, side by side: queries (N, P, d), keys, values (N, Q, d) -> (N, P, d).

    mask (N, Q) bool, True = real; every row has a real position. dropout: of the attention's weights.
    """
    q, k, v = (side.unflatten(-1, (num_heads, -1)).transpose(1, 2) for side in (queries, keys, values))
    attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :], dropout_p=dropout)
    return attended.transpose(1, 2).flatten(2)


def check_heads(width: int, num_heads: int, *, what: str) -> None:
    """Raises ConfigError where the heads do not share the width evenly."""
    if width < 1 or num_heads < 1 or width % num_heads:
        raise ConfigError(f"{what}: {num_heads} heads do not share a width of {width} evenly")


class AddAndNormalize(nn.Module):
    """LayerNorm(x + dropout(W y + b)): how every part of a layer is added to what it read."""

    def __init__(self, input_width: int, width: int, *, dropout: float) -> None:
        super().__init__()
        self.project = Linear(input_width, width)
        self.dropout = Dropout(dropout)
        self.normalize = nn.LayerNorm(width, eps=EPSILON)

    def forward(self, added: Tensor, before: Tensor) -> Tensor:
        """added (N, P, input_width) -> (N, P, width), the width of `before`."""
        return self.normalize(before + self.dropout(self.project(added)))


class FeedForward(nn.Module):
    """LayerNorm(x + W₂ GELU(W₁ x))."""

    def __init__(self, width: int, hidden_width: int, *, dropout: float) -> None:
        super().__init__()
        self.hidden = Linear(width, hidden_width)
        self.add = AddAndNormalize(hidden_width, width, dropout=dropout)

    def forward(self, features: Tensor) -> Tensor:
        return self.add(F.gelu(self.hidden(features)), features)


class TransformerLayer(nn.Module):
    """Self-attention, then the feed-forward part: one layer of BERT."""

    def __init__(
        self, width: int, *, num_heads: int, hidden_width: int, dropout: float, attention_dropout: float
    ) -> None:
        super().__init__()
        self.num_heads, self.attention_dropout = num_heads, attention_dropout
        self.project = Linear(width, 3 * width)  # queries, keys, values
        self.add = AddAndNormalize(width, width, dropout=dropout)
        self.feed_forward = FeedForward(width, hidden_width, dropout=dropout)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """features (N, P, width), mask (N, P) -> (N, P, width); positions that are padding hold nothing of use."""
        dropout = self.attention_dropout if self.training else 0.0
        queries, keys, values = self.project(features).chunk(3, dim=-1)
        attended = attend(queries, keys, values, mask, num_heads=self.num_heads, dropout=dropout)
        return self.feed_forward(self.add(attended, features))
