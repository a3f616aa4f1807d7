"""Which region a phrase of the caption speaks of (section 3.3.3, eq. 9 and 10)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vltool.models.initialization import glorot_
from vltool.structures import JointState


class GroundingDecoder(nn.Module):
    """p^T W i for every phrase and region; p is the mean of the phrase's words as read inside the whole caption."""

    def __init__(self, text_width: int, image_width: int) -> None:
        super().__init__()
        self.compare = nn.Linear(image_width, text_width, bias=False)  # W
        glorot_(self.compare)

    def forward(self, state: JointState, inputs: dict[str, Tensor]) -> Tensor:
        """Logits (B, P, R).

        inputs["phrase_spans"] (B, P, 2) long, [start, end) over the sentence's own tokens; inputs["phrase_mask"] (B, P)
        bool. R: the picture's own regions. Every logit is finite. Those of padded phrases are 0; those of padded
        regions mean nothing, and it is for the caller to leave them out by the batch's region_mask.
        """
        phrases = phrase_features(state.words, inputs["phrase_spans"], inputs["phrase_mask"])  # (B, P, text_width)
        return phrases @ self.compare(state.regions).transpose(-1, -2)


def phrase_features(text: Tensor, spans: Tensor, mask: Tensor) -> Tensor:
    """Mean word feature of each phrase (eq. 9), 0 for padded phrases.

    text (B, T, width), spans (B, P, 2) long [start, end), mask (B, P) -> (B, P, width).
    """
    positions = torch.arange(text.shape[1], device=text.device)
    start, end = spans[..., :1], spans[..., 1:]
    inside = (positions >= start) & (positions < end) & mask[..., None]  # (B, P, T)
    weights = inside.to(text.dtype) / inside.sum(dim=-1, keepdim=True).clamp(min=1).to(text.dtype)
    return weights @ text
