"""What decoders are made of where the encoder is ViLBERT: its authors' poolers and heads.

VILBertForVLTasks and SimpleClassifier of facebookresearch/vilbert-multi-task at f22b84a, vilbert/vilbert.py.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from vltool.models.decoders.summary import Summary
from vltool.models.dropout import Dropout
from vltool.models.linear import Linear
from vltool.models.vilbert.transformer import EPSILON
from vltool.structures import JointState

Fusion = Literal["mul", "sum"]


class Poolers(nn.Module):
    """ReLU(W x + b) of the first position of each side: [CLS], and the mean region."""

    checkpoint_names: ClassVar = {"text": "bert.t_pooler.dense", "image": "bert.v_pooler.dense"}

    def __init__(self, text_width: int, image_width: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.text = Linear(text_width, width)
        self.image = Linear(image_width, width)

    def forward(self, state: JointState) -> tuple[Tensor, Tensor]:
        """(N, width) of the text and of the image."""
        return F.relu(self.text(state.text[:, 0])), F.relu(self.image(state.image[:, 0]))


class Fuse(nn.Module):
    """Both sides' vectors in one: their product or sum, element by element, then dropout."""

    def __init__(self, fusion: Fusion, *, dropout: float) -> None:
        super().__init__()
        self.fusion: Fusion = fusion
        self.dropout = Dropout(dropout)

    def forward(self, text: Tensor, image: Tensor) -> Tensor:
        """(N, width) each -> (N, width)."""
        return self.dropout(text * image if self.fusion == "mul" else text + image)


class PooledSummary(Summary):
    """What the poolers give of a state. poolers: the summary's own, or the encoder's, which all summaries share."""

    def __init__(self, poolers: Poolers, fusion: Fusion, *, dropout: float, shared: bool) -> None:
        super().__init__()
        self.text_width = self.image_width = self.joined_width = poolers.width
        if shared:  # the encoder's part, not the decoder's
            self._shared = (poolers,)
        else:
            self.poolers = poolers
        self.fuse = Fuse(fusion, dropout=dropout)

    def forward(self, state: JointState) -> tuple[Tensor, Tensor]:
        text, image = (self._shared[0] if hasattr(self, "_shared") else self.poolers)(state)
        return text, image

    def joined(self, text: Tensor, image: Tensor) -> Tensor:
        return self.fuse(text, image)


class GeluClassifier(nn.Module):
    """W₂ LayerNorm(GELU(W₁ x))."""

    def __init__(self, width: int, num_outputs: int, *, hidden_width: int) -> None:
        super().__init__()
        self.hidden = Linear(width, hidden_width)
        self.normalize = nn.LayerNorm(hidden_width, eps=EPSILON)
        self.outputs = Linear(hidden_width, num_outputs)

    def forward(self, joined: Tensor) -> Tensor:
        """(N, width) -> (N, num_outputs)."""
        return self.outputs(self.normalize(F.gelu(self.hidden(joined))))


class FusedComparison(nn.Module):
    """One logit of the fused vector: how well image and sentence belong together."""

    checkpoint_names: ClassVar = {"logit": "vil_logit"}

    def __init__(self, width: int, fusion: Fusion, *, dropout: float) -> None:
        super().__init__()
        self.fuse = Fuse(fusion, dropout=dropout)
        self.logit = Linear(width, 1)

    def forward(self, text: Tensor, image: Tensor) -> Tensor:
        """(N, width) each -> (N,)."""
        return self.logit(self.fuse(text, image)).squeeze(-1)


class RegionLogits(nn.Module):
    """One logit of each region's own features; the sentence is in them already."""

    checkpoint_names: ClassVar = {"logit": "vision_logit"}

    def __init__(self, width: int, *, dropout: float) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)
        self.logit = Linear(width, 1)

    def forward(self, state: JointState) -> Tensor:
        """(N, R) of the picture's own regions; those of padded regions mean nothing."""
        return self.logit(self.dropout(state.regions)).squeeze(-1)
