"""Scores of a fixed set of answers to a question about an image (section 3.3.2, eq. 8)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vltool.models.decoders.summary import SummaryNetwork
from vltool.models.dropout import Dropout
from vltool.models.initialization import glorot_
from vltool.structures import JointState


class AnsweringDecoder(nn.Module):
    """MLP([v_I ; v_S]), one logit per answer, with its own summary network for each side.

    hidden_width: d of eq. 8; the text width unless given. num_maps: K of eq. 5. summary_hidden_width: hidden units of a
    summary network; its side's width unless given.
    """

    def __init__(
        self,
        text_width: int,
        image_width: int,
        num_answers: int,
        *,
        hidden_width: int | None = None,
        num_maps: int = 4,
        summary_hidden_width: int | None = None,
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        self.summarize_regions, self.summarize_words = (
            SummaryNetwork(width, hidden_width=summary_hidden_width, num_maps=num_maps, dropout=dropout)
            for width in (image_width, text_width)
        )
        self.hidden = nn.Linear(image_width + text_width, hidden_width or text_width)
        self.answers = nn.Linear(hidden_width or text_width, num_answers)
        self.dropout = Dropout(dropout)
        glorot_(self.hidden)
        glorot_(self.answers)

    def forward(self, state: JointState, inputs: dict[str, Tensor]) -> Tensor:
        """Logits (N, num_answers)."""
        regions = self.summarize_regions(state.image, state.region_mask)  # (N, image_width)
        words = self.summarize_words(state.text, state.token_mask)  # (N, text_width)
        hidden = F.relu(self.hidden(torch.cat([regions, words], dim=-1)))  # (N, d)
        return self.answers(self.dropout(hidden))

    def attention(self, state: JointState) -> tuple[Tensor, Tensor]:
        """Where the summaries look: (N, R) over regions and (N, T) over words."""
        regions = self.summarize_regions.attention(state.image, state.region_mask)
        return regions, self.summarize_words.attention(state.text, state.token_mask)
