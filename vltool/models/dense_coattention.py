"""The dense co-attention encoder of Nguyen and Okatani (CVPR 2019, section 3.2, eq. 1-3)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vltool.errors import ConfigError
from vltool.models.co_attention import AttentionMaps, attend, head_affinity, mask_bias
from vltool.models.encoder import Encoder
from vltool.models.initialization import glorot_
from vltool.models.sentence_reader import SentenceReader
from vltool.structures import Batch, JointState


class DenseCoattentionLayer(nn.Module):
    """(S_l, I_l) = DCL_l(S_{l-1}, I_{l-1}) (eq. 1).

    One affinity per map between all words and all regions gives both attention maps. The maps are averaged first and
    attended with once, and W [s ; i'] is computed as W1 s + W2 i', both of which leave the numbers as they are.
    """

    def __init__(self, width: int, *, num_maps: int = 4, num_memory_slots: int = 3, dropout: float = 0.3) -> None:
        super().__init__()
        if num_maps < 1 or width % num_maps:
            raise ConfigError(
                f"width {width} cannot be cut into num_maps = {num_maps} equal maps. Use a multiple of it."
            )
        self.width = width
        self.num_maps = num_maps
        self.affinity_words = nn.Linear(width, width, bias=False)
        self.affinity_regions = nn.Linear(width, width, bias=False)
        self.memory_words = nn.Parameter(torch.empty(num_memory_slots, width))
        self.memory_regions = nn.Parameter(torch.empty(num_memory_slots, width))
        self.fuse_words = nn.Linear(2 * width, width)  # W_S, b_S of eq. 2: [own ; attended]
        self.fuse_regions = nn.Linear(2 * width, width)  # W_I, b_I of eq. 3
        self.dropout = nn.Dropout(dropout)
        glorot_(self)
        if num_memory_slots:
            nn.init.xavier_uniform_(self.memory_words)
            nn.init.xavier_uniform_(self.memory_regions)

    @property
    def num_memory_slots(self) -> int:
        return int(self.memory_words.shape[0])

    def forward(self, state: JointState) -> JointState:
        """text (N, T, d) and image (N, R, d) -> the same shapes, one level up."""
        words_over_regions, regions_over_words = self._averaged_maps(state)
        text = self._fuse(self.fuse_words, state.text, words_over_regions, state.image, self.memory_regions)
        image = self._fuse(self.fuse_regions, state.image, regions_over_words, state.text, self.memory_words)
        return JointState(text, image, state.token_mask, state.region_mask)

    def attention(self, state: JointState) -> AttentionMaps:
        """Both attention maps of every head when this layer reads `state`, without the memory slots."""
        slots = self.num_memory_slots
        over_regions, over_words = self._maps(state)
        return AttentionMaps(over_regions[..., slots:], over_words[..., slots:])

    def _maps(self, state: JointState) -> tuple[Tensor, Tensor]:
        """(N, H, T, M + R) over regions for each word, and (N, H, R, M + T) over words for each region."""
        slots = self.num_memory_slots
        words = with_slots(self.affinity_words, self.memory_words, state.text)  # (N, M + T, d)
        regions = with_slots(self.affinity_regions, self.memory_regions, state.image)  # (N, M + R, d)
        affinity = head_affinity(words, regions, self.num_maps)  # (N, H, M + T, M + R)
        region_bias = mask_bias(state.region_mask, slots, affinity.dtype)[:, None, None, :]
        word_bias = mask_bias(state.token_mask, slots, affinity.dtype)[:, None, None, :]
        over_regions = (affinity[:, :, slots:, :] + region_bias).softmax(dim=-1)
        over_words = (affinity[:, :, :, slots:].transpose(-1, -2) + word_bias).softmax(dim=-1)
        return over_regions, over_words

    def _averaged_maps(self, state: JointState) -> tuple[Tensor, Tensor]:
        """(N, T, M + R) and (N, R, M + T)."""
        over_regions, over_words = self._maps(state)
        return over_regions.mean(dim=1), over_words.mean(dim=1)

    def _fuse(self, fuse: nn.Linear, own: Tensor, weights: Tensor, other: Tensor, memory: Tensor) -> Tensor:
        """ReLU(W [own ; attended] + b) + own (eq. 2 and 3), with the shorter of the two sides projected by W2."""
        own_weight, attended_weight = fuse.weight.split(self.width, dim=1)  # W1, W2: (d, d) each
        if other.shape[1] < own.shape[1]:
            attended = attend(weights, F.linear(other, attended_weight), F.linear(memory, attended_weight))
        else:
            attended = F.linear(attend(weights, other, memory), attended_weight)
        return own + self.dropout(F.relu(F.linear(own, own_weight, fuse.bias) + attended))


def with_slots(project: nn.Linear, memory: Tensor, sequence: Tensor) -> Tensor:
    """The projected memory slots in front of the projected sequence: (M, d) and (N, P, d) -> (N, M + P, d)."""
    projected = project(sequence)
    if not memory.shape[0]:
        return projected
    return torch.cat([project(memory).to(projected.dtype).expand(len(projected), -1, -1), projected], dim=1)


class DenseCoattentionEncoder(Encoder):
    """Regions projected and normalised, words through a biLSTM, then a stack of dense co-attention layers.

    word_vectors: (V, E), one row per token id. feature_dim: D of the region features.
    region_positions adds a learned linear map of the boxes to the projected regions; the paper has no such thing.
    """

    @dataclass(frozen=True)
    class Options:
        """What a configuration may say about this encoder."""

        width: int = 1024  # d
        num_levels: int = 5  # L
        num_maps: int = 4
        num_memory_slots: int = 3
        dropout: float = 0.3
        lstm_dropout: float = 0.1
        lstm_width: int = 450
        train_word_vectors: bool = False
        normalize_regions: bool = True
        region_positions: bool = False

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
        train_word_vectors: bool = False,
        normalize_regions: bool = True,
        region_positions: bool = False,
    ) -> None:
        super().__init__()
        if num_levels < 1:
            raise ConfigError(f"num_levels is {num_levels}: an encoder needs at least one level.")
        self.text_width = self.image_width = width
        self.feature_dim = feature_dim
        self.normalize_regions = normalize_regions
        self.read_sentences = SentenceReader(
            word_vectors,
            width,
            lstm_width=lstm_width,
            dropout=dropout,
            lstm_dropout=lstm_dropout,
            train_word_vectors=train_word_vectors,
        )
        self.project_regions = nn.Linear(feature_dim, width)
        self.project_positions = nn.Linear(5, width, bias=False) if region_positions else None
        glorot_(self.project_regions)
        if self.project_positions is not None:
            glorot_(self.project_positions)
        self.levels = nn.ModuleList(
            DenseCoattentionLayer(width, num_maps=num_maps, num_memory_slots=num_memory_slots, dropout=dropout)
            for _ in range(num_levels)
        )

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
        projected = self.project_regions(regions.to(self.project_regions.weight.dtype))  # (U, R, d)
        if self.project_positions is not None:
            projected = projected + self.project_positions(boxes.to(self.project_positions.weight.dtype))
        return F.normalize(projected, dim=-1) if self.normalize_regions else projected

    def attention_maps(self, batch: Batch, level: int) -> AttentionMaps:
        """The attention maps of layer `level` on the batch's N rows: (N, H, T, R) and (N, H, R, T)."""
        self.check_level(level)
        state = self.embed(batch) if level == 1 else self.forward(batch, level=level - 1)
        layer = self.levels[level - 1]
        assert isinstance(layer, DenseCoattentionLayer)
        return layer.attention(state)
