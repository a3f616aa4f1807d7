"""One logit for each region of a picture: which one does the whole sentence speak of."""

from __future__ import annotations

from torch import Tensor, nn

from vltool.models.decoders.summary import SummaryNetwork
from vltool.models.initialization import glorot_
from vltool.structures import JointState


class SentenceRegionScores(nn.Module):
    """p^T W i of eq. 10 for every region, where p is the summary of the sentence's words (eq. 4-6)."""

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
        self.summarize_words = SummaryNetwork(text_width, hidden_width=hidden_width, num_maps=num_maps, dropout=dropout)
        self.compare = nn.Linear(image_width, text_width, bias=False)  # W
        glorot_(self.compare)

    def forward(self, state: JointState) -> Tensor:
        """Logits (N, R) of the picture's own regions; those of padded regions mean nothing."""
        words = self.summarize_words(state.text, state.token_mask)  # (N, text_width)
        return (self.compare(state.regions) @ words[:, :, None]).squeeze(-1)
