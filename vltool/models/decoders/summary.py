"""What a decoder reads of a whole image-sentence row: one vector for each side, and the two in one.

Which summary, classifier and comparison a decoder is built of is the encoder's to say (`Encoder.build_summary` and the
methods beside it). Here are those of Nguyen and Okatani: attention over positions (eq. 4-6).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vltool.models.dropout import Dropout
from vltool.models.initialization import glorot_
from vltool.models.linear import LinearRelu
from vltool.structures import JointState


class Summary(nn.Module):
    """JointState -> (text (N, text_width), image (N, image_width)). `joined` makes one vector of the two."""

    text_width: int
    image_width: int
    joined_width: int

    def joined(self, text: Tensor, image: Tensor) -> Tensor:
        """(N, joined_width) of what `forward` gave."""
        raise NotImplementedError

    def attention(self, state: JointState) -> tuple[Tensor, Tensor] | None:
        """Where it looks: (N, R) over the picture's regions and (N, T) over the sentence's words; None if nowhere."""
        return None


class AttendedSummary(Summary):
    """A summary network for each side (eq. 4-6); joined, they stand side by side: [v_I ; v_S] of eq. 8."""

    def __init__(
        self,
        text_width: int,
        image_width: int,
        *,
        hidden_width: int | None = None,
        num_maps: int = 4,
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        self.text_width, self.image_width = text_width, image_width
        self.joined_width = image_width + text_width
        self.summarize_regions, self.summarize_words = (
            SummaryNetwork(width, hidden_width=hidden_width, num_maps=num_maps, dropout=dropout)
            for width in (image_width, text_width)
        )

    def forward(self, state: JointState) -> tuple[Tensor, Tensor]:
        regions = self.summarize_regions(state.image, state.region_mask)  # (N, image_width)
        words = self.summarize_words(state.text, state.token_mask)  # (N, text_width)
        return words, regions

    def joined(self, text: Tensor, image: Tensor) -> Tensor:
        return torch.cat([image, text], dim=-1)

    def attention(self, state: JointState) -> tuple[Tensor, Tensor]:
        regions = self.summarize_regions.attention(state.image, state.region_mask)
        words = self.summarize_words.attention(state.text, state.token_mask)
        return regions[:, state.num_leading_regions :], words[:, state.num_leading_tokens :]


class SummaryNetwork(nn.Module):
    """Attention by K score maps that look at one position at a time.

    width: of the features. hidden_width: d hidden units with ReLU. num_maps: K.
    """

    def __init__(self, width: int, *, hidden_width: int | None = None, num_maps: int = 4, dropout: float = 0.3) -> None:
        super().__init__()
        self.hidden = LinearRelu(width, hidden_width or width)
        self.scores = nn.Linear(hidden_width or width, num_maps)
        self.dropout = Dropout(dropout)
        glorot_(self)

    def attention(self, features: Tensor, mask: Tensor) -> Tensor:
        """alpha of eq. 5: features (N, P, width), mask (N, P) -> (N, P), 0 at padding, sums to 1."""
        scores = self.scores(self.dropout(self.hidden(features)))  # (N, P, K), eq. 4
        scores = scores.masked_fill(~mask[..., None], torch.finfo(scores.dtype).min)
        return scores.softmax(dim=1).mean(dim=-1)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """The weighted sum of the features (eq. 6): (N, P, width) -> (N, width)."""
        weights = self.attention(features, mask)  # (N, P)
        return (weights[:, None, :].to(features.dtype) @ features).squeeze(1)
