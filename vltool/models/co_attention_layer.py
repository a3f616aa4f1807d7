"""One dense co-attention layer (Nguyen and Okatani, CVPR 2019, section 3.2, eq. 1-3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vltool.errors import ConfigError
from vltool.models.co_attention import (
    AttentionMaps,
    behind_slots,
    bias_where_masked,
    both_softmaxes,
    head_affinity,
    mask_bias,
)
from vltool.models.co_attention_function import CoAttention, LayerWeights, PackedWeights, Settings, pack
from vltool.models.co_attention_inference import InferenceWeights, co_attend, for_inference
from vltool.models.derived import DerivesWeights
from vltool.models.dropout import Dropout
from vltool.models.initialization import glorot_
from vltool.models.precision import compute_dtype
from vltool.structures import JointState


class DenseCoattentionLayer(DerivesWeights):
    """(S_l, I_l) = DCL_l(S_{l-1}, I_{l-1}) (eq. 1).

    One affinity per map between all words and all regions gives both attention maps. The maps are averaged first and
    attended with once, and W [s ; i'] is computed as W1 s + W2 i', both of which leave the numbers as they are.
    """

    glorot_parameters = ("memory_words", "memory_regions")

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
        self.dropout = Dropout(dropout)
        glorot_(self)

    @property
    def num_memory_slots(self) -> int:
        return int(self.memory_words.shape[0])

    def forward(self, state: JointState) -> JointState:
        """text (N, T, d) and image (N, R, d) -> the same shapes, one level up."""
        dtype = compute_dtype(state.text)
        words_are_shorter = state.text.shape[1] <= state.image.shape[1]
        words, regions = (state.text, state.token_mask), (state.image, state.region_mask)
        (x, mask_x), (y, mask_y) = (words, regions) if words_are_shorter else (regions, words)
        slots = self.num_memory_slots
        weights = self._weights(words_are_shorter)
        with torch.autocast(x.device.type, enabled=False):
            packed = self._packed(weights, words_are_shorter, dtype)
            if self.training or torch.is_grad_enabled():
                settings = Settings(self.num_maps, dtype, self.dropout.drop_)
                biases = mask_bias(mask_x, slots), mask_bias(mask_y, slots)
                x, y = CoAttention.apply(settings, packed, biases, x, y, *weights)
            else:
                cut = self.derive(("inference", words_are_shorter, dtype), lambda: self._for_inference(packed))
                where_masked = bias_where_masked(mask_x, slots), bias_where_masked(mask_y, slots)
                x, y = co_attend(x.to(dtype), y.to(dtype), cut, where_masked)
        text, image = (x, y) if words_are_shorter else (y, x)
        return JointState(text, image, state.token_mask, state.region_mask)

    def _packed(self, weights: LayerWeights, words_are_shorter: bool, dtype: torch.dtype) -> PackedWeights:
        detached = LayerWeights(*(weight.detach() for weight in weights))
        return self.derive((words_are_shorter, dtype), lambda: pack(detached, dtype))

    def _for_inference(self, packed: PackedWeights) -> InferenceWeights:
        return for_inference(packed, self.num_maps, reorder=self.derived_for_long)

    def _weights(self, words_are_shorter: bool) -> LayerWeights:
        words = (self.affinity_words.weight, self.memory_words, self.fuse_words.weight, self.fuse_words.bias)
        regions = (self.affinity_regions.weight, self.memory_regions, self.fuse_regions.weight, self.fuse_regions.bias)
        x, y = (words, regions) if words_are_shorter else (regions, words)
        return LayerWeights(*(part for pair in zip(x, y, strict=True) for part in pair))

    def attention(self, state: JointState) -> AttentionMaps:
        """Both attention maps of every head when this layer reads `state`, without the memory slots."""
        slots = self.num_memory_slots
        over_regions, over_words = self._maps(*self._projected(state), state.token_mask, state.region_mask)
        return AttentionMaps(over_regions[:, :, slots:, slots:], over_words[:, :, slots:, slots:].transpose(-1, -2))

    def averaged_maps(
        self, words: Tensor, regions: Tensor, token_mask: Tensor, region_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Attention of each word over regions (N, T, M + R) and of each region over words (N, R, M + T).

        words (N, M + T, d) and regions (N, M + R, d): projected for the affinity, memory slots in front.
        """
        slots = self.num_memory_slots
        over_regions, over_words = (
            maps.mean(dim=1) for maps in self._maps(words, regions, token_mask, region_mask)
        )  # (N, M + T, M + R)
        return over_regions[:, slots:], over_words[:, :, slots:].transpose(1, 2)

    def _projected(self, state: JointState) -> tuple[Tensor, Tensor]:
        """Words (N, M + T, d) and regions (N, M + R, d) for the affinity, memory slots in front."""
        words = behind_slots(self.affinity_words(self.memory_words), self.affinity_words(state.text))
        regions = behind_slots(self.affinity_regions(self.memory_regions), self.affinity_regions(state.image))
        return words, regions

    def _maps(self, words: Tensor, regions: Tensor, token_mask: Tensor, region_mask: Tensor) -> tuple[Tensor, Tensor]:
        """(N, H, M + T, M + R) twice, of one affinity: softmax over regions, softmax over words."""
        affinity = head_affinity(words, regions, self.num_maps)  # (N, H, M + T, M + R)
        word_bias = mask_bias(token_mask, self.num_memory_slots)[:, None, :, None]
        region_bias = mask_bias(region_mask, self.num_memory_slots)[:, None, None, :]
        return both_softmaxes(affinity, word_bias, region_bias)

    def add_fused(self, own: Tensor, fused: Tensor) -> Tensor:
        """ReLU(fused) + own, with dropout on what is added."""
        return own + self.dropout(F.relu(fused))
