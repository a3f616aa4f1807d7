"""Which region a whole sentence speaks of: referring expressions, and questions that are answered by pointing."""

from __future__ import annotations

from torch import Tensor, nn

from vltool.structures import JointState


class PointingDecoder(nn.Module):
    """One logit per region.

    score_regions: JointState -> (N, R), as `Encoder.build_region_scores` gives it.
    """

    def __init__(self, score_regions: nn.Module) -> None:
        super().__init__()
        self.score_regions = score_regions

    def forward(self, state: JointState, inputs: dict[str, Tensor]) -> Tensor:
        """Logits (B, R) of the picture's own regions; those of padded regions mean nothing."""
        return self.score_regions(state)
