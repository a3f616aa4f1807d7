"""Scores of a fixed set of answers to a question about an image (section 3.3.2, eq. 8)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from vltool.models.decoders.summary import Summary
from vltool.models.dropout import Dropout
from vltool.models.initialization import glorot_
from vltool.structures import JointState


class AnsweringDecoder(nn.Module):
    """One logit per answer, from both summaries joined.

    classify: (N, summary.joined_width) -> (N, num_answers), as `Encoder.build_classifier` gives it.
    """

    def __init__(self, summary: Summary, classify: nn.Module) -> None:
        super().__init__()
        self.summary = summary
        self.classify = classify

    def forward(self, state: JointState, inputs: dict[str, Tensor]) -> Tensor:
        """Logits (N, num_answers)."""
        return self.classify(self.summary.joined(*self.summary(state)))

    def attention(self, state: JointState) -> tuple[Tensor, Tensor] | None:
        """Where the summary looks: (N, R) over regions and (N, T) over words; None if it has no attention."""
        return self.summary.attention(state)


class TwoLayers(nn.Module):
    """The MLP of eq. 8: a hidden layer with ReLU and dropout, then one logit per answer."""

    def __init__(self, width: int, num_outputs: int, *, hidden_width: int, dropout: float = 0.3) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, hidden_width)
        self.answers = nn.Linear(hidden_width, num_outputs)
        self.dropout = Dropout(dropout)
        glorot_(self.hidden)
        glorot_(self.answers)

    def forward(self, joined: Tensor) -> Tensor:
        """(N, width) -> (N, num_outputs)."""
        hidden = F.relu(self.hidden(joined))  # (N, d)
        return self.answers(self.dropout(hidden))
