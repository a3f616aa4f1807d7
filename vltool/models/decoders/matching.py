"""How well an image and a sentence match (section 3.3.1, eq. 7)."""

from __future__ import annotations

from torch import Tensor, nn

from vltool.models.decoders.summary import Summary
from vltool.models.initialization import glorot_
from vltool.structures import JointState


class MatchingDecoder(nn.Module):
    """One logit per row, from the summaries of its two sides. The logistic function is left to the loss.

    compare: (text, image) -> (N,), as `Encoder.build_comparison` gives it.
    """

    def __init__(self, summary: Summary, compare: nn.Module) -> None:
        super().__init__()
        self.summary = summary
        self.compare = compare

    def forward(self, state: JointState, inputs: dict[str, Tensor]) -> Tensor:
        """Logits (N,), one per row."""
        return self.compare(*self.summary(state))

    def attention(self, state: JointState) -> tuple[Tensor, Tensor] | None:
        """Where the summary looks: (N, R) over regions and (N, T) over words; None if it has no attention."""
        return self.summary.attention(state)


class BilinearComparison(nn.Module):
    """v_I^T W v_S."""

    def __init__(self, text_width: int, image_width: int) -> None:
        super().__init__()
        self.compare = nn.Linear(text_width, image_width, bias=False)  # W
        glorot_(self.compare)

    def forward(self, text: Tensor, image: Tensor) -> Tensor:
        """text (N, text_width), image (N, image_width) -> (N,)."""
        return (image * self.compare(text)).sum(dim=-1)
