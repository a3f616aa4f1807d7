"""Level 0 of each stream: word pieces and regions as vectors, and the layers before the first connection."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from vltool.errors import ConfigError
from vltool.models.dropout import Dropout
from vltool.models.linear import Linear
from vltool.models.vilbert.transformer import EPSILON, TransformerLayer

WHOLE_PICTURE = (0.0, 0.0, 1.0, 1.0, 1.0)
"""Where the mean region lies: x1 y1 x2 y2 and the share of the area."""


class SentenceStream(nn.Module):
    """Word + position + segment of each piece; a task token's vector stands alone. Then `layers`.

    A token id of num_words or more is a task token: of task row id - num_words. It counts as no position, so that a
    sentence's pieces have the positions that they have without it.
    """

    def __init__(
        self,
        num_words: int,
        width: int,
        *,
        num_positions: int,
        num_segments: int,
        num_task_tokens: int,
        dropout: float,
        layers: Iterable[TransformerLayer],
    ) -> None:
        super().__init__()
        self.num_words = num_words
        self.word_vectors = nn.Embedding(num_words, width)
        self.positions = nn.Embedding(num_positions, width)
        self.segments = nn.Embedding(num_segments, width)
        self.task_tokens = nn.Embedding(num_task_tokens, width) if num_task_tokens else None
        self.normalize = nn.LayerNorm(width, eps=EPSILON)
        self.dropout = Dropout(dropout)
        self.layers = nn.ModuleList(layers)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """tokens (V, T) long, mask (V, T) -> (V, T, width)."""
        is_task = tokens >= self.num_words  # (V, T)
        positions = (~is_task).cumsum(dim=1).sub(1).clamp(min=0)
        self._check_length(tokens.shape[1])
        vectors = self.word_vectors(tokens.masked_fill(is_task, 0))  # (V, T, width)
        vectors = vectors + self.positions(positions) + self.segments.weight[0]
        if self.task_tokens is not None:
            rows = (tokens - self.num_words).clamp(min=0)
            vectors = torch.where(is_task[..., None], self.task_tokens(rows), vectors)
        features = self.dropout(self.normalize(vectors))
        for layer in self.layers:
            features = layer(features, mask)
        return features

    def _check_length(self, num_tokens: int) -> None:
        num_places = num_tokens - (self.task_tokens is not None)
        if num_places > self.positions.num_embeddings:
            raise ConfigError(
                f"a sentence has {num_places} tokens with those at its ends, the encoder knows "
                f"{self.positions.num_embeddings} positions. Set text.max_tokens="
                f"{self.positions.num_embeddings - 2} and run embed-text again, or raise encoder.options.num_positions"
            )


class RegionStream(nn.Module):
    """W_f f + b_f + W_l l + b_l of each region, normalised; in front of them their mean. Then `layers`.

    l: x1/W, y1/H, x2/W, y2/H and the share of the picture's area. standardize: each feature is shifted and scaled by
    its mean and deviation over the training pictures first, which `take_statistics` is told.
    """

    feature_mean: Tensor
    feature_scale: Tensor

    def __init__(
        self,
        feature_dim: int,
        width: int,
        *,
        dropout: float,
        layers: Iterable[TransformerLayer],
        standardize: bool = False,
    ) -> None:
        super().__init__()
        self.feature_dim, self.standardize = feature_dim, standardize
        if standardize:
            self.register_buffer("feature_mean", torch.zeros(feature_dim))
            self.register_buffer("feature_scale", torch.ones(feature_dim))
        self.project_features = Linear(feature_dim, width)
        self.project_positions = Linear(5, width)
        self.normalize = nn.LayerNorm(width, eps=EPSILON)
        self.dropout = Dropout(dropout)
        self.layers = nn.ModuleList(layers)

    def take_statistics(self, mean: Tensor, deviation: Tensor) -> None:
        """Both (D,), of the training pictures' regions. They are saved with the weights."""
        self.feature_mean.copy_(mean)
        self.feature_scale.copy_(deviation.clamp_min(1e-4))

    def forward(self, regions: Tensor, mask: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """regions (U, R, D), mask (U, R), boxes (U, R, 5) -> (U, 1 + R, width), mask (U, 1 + R); the mean first."""
        if regions.shape[-1] != self.feature_dim:
            raise ConfigError(
                f"the region features are {regions.shape[-1]} wide, the encoder was built for {self.feature_dim}. "
                "Use the feature store it was trained on, or train on this one."
            )
        dtype = self.project_features.weight.dtype
        regions = regions.to(dtype)
        if self.standardize:
            regions = (regions - self.feature_mean) / self.feature_scale
        regions, boxes, mask = with_mean_region(regions, mask, boxes.to(dtype))
        features = self.dropout(self.normalize(self.project_features(regions) + self.project_positions(boxes)))
        for layer in self.layers:
            features = layer(features, mask)
        return features, mask


def with_mean_region(regions: Tensor, mask: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """regions (U, 1 + R, D), boxes (U, 1 + R, 5), mask (U, 1 + R): the mean of a picture's regions is its first one.

    It covers the whole picture. Boxes that a dataset gives count in it as detected ones do. A picture without a region
    has zeros there.
    """
    share = mask.to(regions.dtype)[..., None] / mask.sum(dim=1).clamp(min=1)[:, None, None]  # (U, R, 1)
    mean = (regions * share).sum(dim=1, keepdim=True)
    whole = boxes.new_tensor(WHOLE_PICTURE).expand(len(boxes), 1, 5)
    real = mask.new_ones(len(mask), 1)
    return torch.cat([mean, regions], dim=1), torch.cat([whole, boxes], dim=1), torch.cat([real, mask], dim=1)
