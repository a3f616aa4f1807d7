"""How well an image and a sentence match (section 3.3.1, eq. 7)."""

from __future__ import annotations

from torch import Tensor, nn

from vltool.models.decoders.summary import SummaryNetwork
from vltool.models.initialization import glorot_
from vltool.structures import JointState


class MatchingDecoder(nn.Module):
    """v_I^T W v_S, with its own summary network for each side. The logistic function is left to the loss.

    num_maps: K of eq. 5. summary_hidden_width: hidden units of a summary network; its side's width unless given.
    """

    def __init__(
        self,
        text_width: int,
        image_width: int,
        *,
        num_maps: int = 4,
        summary_hidden_width: int | None = None,
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        self.summarize_regions, self.summarize_words = (
            SummaryNetwork(width, hidden_width=summary_hidden_width, num_maps=num_maps, dropout=dropout)
            for width in (image_width, text_width)
        )
        self.compare = nn.Linear(text_width, image_width, bias=False)  # W
        glorot_(self.compare)

    def forward(self, state: JointState, inputs: dict[str, Tensor]) -> Tensor:
        """Logits (N,), one per row."""
        regions = self.summarize_regions(state.image, state.region_mask)  # (N, image_width)
        words = self.summarize_words(state.text, state.token_mask)  # (N, text_width)
        return (regions * self.compare(words)).sum(dim=-1)

    def attention(self, state: JointState) -> tuple[Tensor, Tensor]:
        """Where the summaries look: (N, R) over regions and (N, T) over words."""
        regions = self.summarize_regions.attention(state.image, state.region_mask)
        return regions, self.summarize_words.attention(state.text, state.token_mask)
