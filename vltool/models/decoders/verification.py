"""Which of a few classes a sentence is of beside its pictures: true or false, entailed, neutral or contradicted."""

from __future__ import annotations

from torch import Tensor, nn

from vltool.models.decoders.summary import Summary
from vltool.structures import JointState


class VerificationDecoder(nn.Module):
    """Logits of the classes, from the joined summaries of an example's rows side by side, in their order.

    num_rows: pictures of an example, each a row with the sentence. classify: (B, num_rows * summary.joined_width) ->
    (B, classes), as `Encoder.build_classifier` gives it.
    """

    def __init__(self, summary: Summary, classify: nn.Module, *, num_rows: int = 1) -> None:
        super().__init__()
        self.summary = summary
        self.classify = classify
        self.num_rows = num_rows

    def forward(self, state: JointState, inputs: dict[str, Tensor]) -> Tensor:
        """(B, classes) of B * num_rows rows."""
        joined = self.summary.joined(*self.summary(state))  # (B * num_rows, joined_width)
        return self.classify(joined.view(-1, self.num_rows * joined.shape[-1]))

    def attention(self, state: JointState) -> tuple[Tensor, Tensor] | None:
        """Where the summary looks in each first row: (B, R) over regions, (B, T) over words; None if nowhere."""
        found = self.summary.attention(state)
        return None if found is None else (found[0][:: self.num_rows], found[1][:: self.num_rows])
