"""A connection between the streams, and the level that it begins.

Words attend to regions and regions to words, each by queries of its own; then each side goes through a feed-forward
part of its own. A level is a connection and the layers of both streams that follow it before the next one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from torch import Tensor, nn

from vltool.models.linear import Linear
from vltool.models.vilbert.transformer import AddAndNormalize, FeedForward, TransformerLayer, attend
from vltool.structures import JointState


class Connection(nn.Module):
    """Co-attention of `width` over `num_heads` heads between words and regions.

    What `project_words` and `project_regions` give depends on one side alone, so that it can be computed once for each
    sentence and image.
    """

    def __init__(
        self,
        text_width: int,
        image_width: int,
        width: int,
        *,
        num_heads: int,
        text_hidden_width: int,
        image_hidden_width: int,
        dropout: float,
        attention_dropout: float,
    ) -> None:
        super().__init__()
        self.num_heads, self.attention_dropout = num_heads, attention_dropout
        self.project_words = Linear(text_width, 3 * width)  # queries, keys, values
        self.project_regions = Linear(image_width, 3 * width)
        self.add_to_words = AddAndNormalize(width, text_width, dropout=dropout)
        self.add_to_regions = AddAndNormalize(width, image_width, dropout=dropout)
        self.feed_words = FeedForward(text_width, text_hidden_width, dropout=dropout)
        self.feed_regions = FeedForward(image_width, image_hidden_width, dropout=dropout)

    def forward(self, state: JointState, *, words: Tensor | None = None, regions: Tensor | None = None) -> JointState:
        """words (N, T, 3 * width), regions (N, R, 3 * width): the state's projections, where they are there already."""
        words = self.project_words(state.text) if words is None else words
        regions = self.project_regions(state.image) if regions is None else regions
        dropout = self.attention_dropout if self.training else 0.0
        word_queries, word_keys, word_values = words.chunk(3, dim=-1)
        region_queries, region_keys, region_values = regions.chunk(3, dim=-1)
        of_regions = attend(
            word_queries, region_keys, region_values, state.region_mask, num_heads=self.num_heads, dropout=dropout
        )  # (N, T, width)
        of_words = attend(
            region_queries, word_keys, word_values, state.token_mask, num_heads=self.num_heads, dropout=dropout
        )  # (N, R, width)
        text = self.feed_words(self.add_to_words(of_regions, state.text))
        image = self.feed_regions(self.add_to_regions(of_words, state.image))
        return replace(state, text=text, image=image)


class VilbertLevel(nn.Module):
    """A connection, then the layers of both streams up to the next connection."""

    def __init__(
        self,
        connection: Connection,
        text_layers: Iterable[TransformerLayer],
        image_layers: Iterable[TransformerLayer],
    ) -> None:
        super().__init__()
        self.connection = connection
        self.text_layers = nn.ModuleList(text_layers)
        self.image_layers = nn.ModuleList(image_layers)

    def forward(self, state: JointState, *, words: Tensor | None = None, regions: Tensor | None = None) -> JointState:
        state = self.connection(state, words=words, regions=regions)
        text, image = state.text, state.image
        for layer in self.text_layers:
            text = layer(text, state.token_mask)
        for layer in self.image_layers:
            image = layer(image, state.region_mask)
        return replace(state, text=text, image=image)
