"""The dense co-attention encoder of Nguyen and Okatani (CVPR 2019, section 3.2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vltool.errors import ConfigError
from vltool.models.co_attention import AttentionMaps
from vltool.models.co_attention_layer import DenseCoattentionLayer
from vltool.models.encoder import Encoder, PreparedSide
from vltool.models.first_level import (
    first_level_of_all_pairs,
    first_level_of_rows,
    prepare_regions,
    prepare_words,
)
from vltool.models.initialization import Initialization, glorot_
from vltool.models.sentence_reader import SentenceReader
from vltool.structures import Batch, JointState

__all__ = ["DenseCoattentionEncoder", "DenseCoattentionLayer"]


class DenseCoattentionEncoder(Encoder):
    """Regions projected and normalised, words through a biLSTM, then a stack of dense co-attention layers.

    word_vectors: (vocabulary size, E), one row per token id. feature_dim: D of the region features. The rest: Options.
    """

    @dataclass(frozen=True)
    class Options:
        """What a configuration may say about this encoder; section 3.2 and the authors' public code, except the last.

        width: d. lstm_width: hidden units each way. dropout: on fully connected layers, after their ReLU; the
        decoders' too. lstm_dropout: between the LSTM's layers. train_word_vectors: they are frozen otherwise.
        region_positions: add a learned linear map of the boxes to the regions; standardize_regions: shift and scale
        each feature by its mean and deviation over the training pictures. Both are ours, not the paper's.
        """

        width: int = 1024  # d
        num_levels: int = 5  # L
        num_maps: int = 4
        num_memory_slots: int = 3
        dropout: float = 0.3
        lstm_dropout: float = 0.1
        lstm_width: int = 450
        lstm_layers: int = 2
        initialization: Initialization = "glorot_uniform"
        train_word_vectors: bool = False
        normalize_regions: bool = True
        region_positions: bool = False
        standardize_regions: bool = False

    feature_mean: Tensor
    feature_scale: Tensor

    def __init__(
        self,
        word_vectors: Tensor,
        feature_dim: int,
        *,
        width: int = 1024,
        num_levels: int = 5,
        num_maps: int = 4,
        num_memory_slots: int = 3,
        dropout: float = 0.3,
        lstm_dropout: float = 0.1,
        lstm_width: int = 450,
        lstm_layers: int = 2,
        initialization: Initialization = "glorot_uniform",
        train_word_vectors: bool = False,
        normalize_regions: bool = True,
        region_positions: bool = False,
        standardize_regions: bool = False,
    ) -> None:
        super().__init__()
        sizes = {"num_levels": num_levels, "width": width, "num_maps": num_maps, "lstm_width": lstm_width}
        sizes["lstm_layers"] = lstm_layers
        for name, size in sizes.items():
            if size < 1:
                raise ConfigError(f"{name} is {size}: an encoder needs at least 1.")
        if num_memory_slots < 0:
            raise ConfigError(f"num_memory_slots is {num_memory_slots}: it must be 0 or more.")
        for name, share in {"dropout": dropout, "lstm_dropout": lstm_dropout}.items():
            if not 0 <= share < 1:
                raise ConfigError(f"{name} is {share}: it must lie from 0 to below 1.")
        self.text_width = self.image_width = width
        self.feature_dim = feature_dim
        self.normalize_regions = normalize_regions
        self.read_sentences = SentenceReader(
            word_vectors,
            width,
            lstm_width=lstm_width,
            lstm_layers=lstm_layers,
            dropout=dropout,
            lstm_dropout=lstm_dropout,
            train_word_vectors=train_word_vectors,
        )
        self.standardize_regions = standardize_regions
        if standardize_regions:
            self.register_buffer("feature_mean", torch.zeros(feature_dim))
            self.register_buffer("feature_scale", torch.ones(feature_dim))
        self.project_regions = nn.Linear(feature_dim, width)
        self.project_positions = nn.Linear(5, width, bias=False) if region_positions else None
        glorot_(self.project_regions)
        if self.project_positions is not None:
            glorot_(self.project_positions)
        self.levels = nn.ModuleList(
            DenseCoattentionLayer(width, num_maps=num_maps, num_memory_slots=num_memory_slots, dropout=dropout)
            for _ in range(num_levels)
        )
        self.initialization = initialization
        self.initialize(self)

    def initialize(self, decoder: nn.Module) -> None:
        if self.initialization != "glorot_uniform":  # which the parts draw from by themselves
            glorot_(decoder, self.initialization)

    def embed_sentences(self, tokens: Tensor, token_mask: Tensor) -> Tensor:
        """S_0. tokens (V, T) long, token_mask (V, T), real words first -> (V, T, d)."""
        return self.read_sentences(tokens, token_mask)

    def embed_images(self, regions: Tensor, region_mask: Tensor, boxes: Tensor) -> Tensor:
        """I_0. regions (U, R, D), any float type; boxes (U, R, 5) -> (U, R, d)."""
        if regions.shape[-1] != self.feature_dim:
            raise ConfigError(
                f"the region features are {regions.shape[-1]} wide, the encoder was built for {self.feature_dim}. "
                "Use the feature store it was trained on, or train on this one."
            )
        regions = regions.to(self.project_regions.weight.dtype)
        if self.standardize_regions:
            regions = (regions - self.feature_mean) / self.feature_scale
        projected = self.project_regions(regions)  # (U, R, d)
        if self.project_positions is not None:
            projected = projected + self.project_positions(boxes.to(self.project_positions.weight.dtype))
        return F.normalize(projected, dim=-1) if self.normalize_regions else projected

    @property
    def word_vectors(self) -> nn.Embedding:
        return self.read_sentences.word_vectors

    @property
    def wants_feature_statistics(self) -> bool:
        return self.standardize_regions

    def take_feature_statistics(self, mean: Tensor, deviation: Tensor) -> None:
        """Standardise by these, both (D,): of the training pictures' regions. They are saved with the weights."""
        self.feature_mean.copy_(mean)
        self.feature_scale.copy_(deviation.clamp_min(1e-4))

    def sides(self, batch: Batch) -> tuple[PreparedSide, PreparedSide]:
        """Where rows share images and sentences, with level 1's projections of them."""
        if len(batch.rows) <= max(len(batch.regions), len(batch.tokens)):
            return super().sides(batch)
        images = self.prepare_images(batch.regions, batch.region_mask, batch.boxes)
        return images, self.prepare_sentences(batch.tokens, batch.token_mask)

    def row_states(self, images: PreparedSide, sentences: PreparedSide, rows: Tensor, *, level: int) -> JointState:
        if not images.projections:
            return super().row_states(images, sentences, rows, level=level)
        self.check_level(level)
        state = first_level_of_rows(self._layer(1), images.take(rows[:, 0]), sentences.take(rows[:, 1]))
        return self.run_levels(state, level=level, start=1)

    def attention_maps(self, batch: Batch, level: int) -> AttentionMaps:
        """The attention maps of layer `level` on the batch's N rows: (N, H, T, R) and (N, H, R, T)."""
        layer = self._layer(self.check_level(level))
        return layer.attention(self.run_levels(self.embed(batch), level=level - 1))

    def prepare_images(self, regions: Tensor, region_mask: Tensor, boxes: Tensor) -> PreparedSide:
        return prepare_regions(self._layer(1), self.embed_images(regions, region_mask, boxes), region_mask)

    def prepare_sentences(self, tokens: Tensor, token_mask: Tensor) -> PreparedSide:
        return prepare_words(self._layer(1), self.embed_sentences(tokens, token_mask), token_mask)

    def pair_states(self, images: PreparedSide, sentences: PreparedSide, *, level: int) -> JointState:
        self.check_level(level)
        return self.run_levels(first_level_of_all_pairs(self._layer(1), images, sentences), level=level, start=1)

    def _layer(self, level: int) -> DenseCoattentionLayer:
        layer = self.levels[level - 1]
        assert isinstance(layer, DenseCoattentionLayer)
        return layer
