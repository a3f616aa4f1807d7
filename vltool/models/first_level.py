"""The first dense co-attention level, when images and sentences are in several rows each.

Everything that level projects depends on one image or one sentence alone, so it is projected once for each. What is
left for a row is the affinity, the two softmaxes and the two weighted sums: no d x d product.

Shapes: U images of R regions, V sentences of T words, H maps, M memory slots, d wide.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from vltool.models.co_attention import behind_slots, both_softmaxes, mask_bias
from vltool.models.co_attention_layer import DenseCoattentionLayer
from vltool.models.encoder import PreparedSide
from vltool.structures import JointState


def prepare_words(layer: DenseCoattentionLayer, text: Tensor, mask: Tensor) -> PreparedSide:
    """Word features (V, T, d) with what `layer` makes of them before it meets an image."""
    return _prepare(text, mask, layer.affinity_words, own=layer.fuse_words, other=layer.fuse_regions)


def prepare_regions(layer: DenseCoattentionLayer, image: Tensor, mask: Tensor) -> PreparedSide:
    """Region features (U, R, d) with what `layer` makes of them before it meets a sentence."""
    return _prepare(image, mask, layer.affinity_regions, own=layer.fuse_regions, other=layer.fuse_words)


def _prepare(features: Tensor, mask: Tensor, affinity: nn.Linear, *, own: nn.Linear, other: nn.Linear) -> PreparedSide:
    """own: the side's own fuse, with its W1; other: the other side's, whose W2 this side is attended through."""
    width = features.shape[-1]
    own_weight, attended_weight = own.weight[:, :width], other.weight[:, width:]
    projections = {
        "affinity": affinity(features),
        "own": F.linear(features, own_weight, own.bias),
        "attended": F.linear(features, attended_weight),
    }
    return PreparedSide(features, mask, projections)


def first_level_of_rows(layer: DenseCoattentionLayer, images: PreparedSide, sentences: PreparedSide) -> JointState:
    """(S_1, I_1) of N rows: image n with sentence n, from what was prepared with `layer` (and gathered since)."""
    words = behind_slots(layer.affinity_words(layer.memory_words), sentences.projections["affinity"])
    regions = behind_slots(layer.affinity_regions(layer.memory_regions), images.projections["affinity"])
    word_weights, region_weights = layer.averaged_maps(words, regions, sentences.mask, images.mask)
    region_values = _attended(images, layer.memory_regions, layer.fuse_words)  # (N, M + R, d)
    word_values = _attended(sentences, layer.memory_words, layer.fuse_regions)  # (N, M + T, d)
    fused_words = sentences.projections["own"] + word_weights.to(region_values.dtype) @ region_values
    fused_regions = images.projections["own"] + region_weights.to(word_values.dtype) @ word_values
    text = layer.add_fused(sentences.features, fused_words)
    image = layer.add_fused(images.features, fused_regions)
    return JointState(text, image, sentences.mask, images.mask)


def first_level_of_all_pairs(layer: DenseCoattentionLayer, images: PreparedSide, sentences: PreparedSide) -> JointState:
    """(S_1, I_1) of all U * V pairs, image-major: what `layer` gives for them, from what was prepared with it."""
    slots = layer.num_memory_slots
    over_regions, over_words = _averaged_maps_of_all_pairs(layer, images, sentences)  # (V, M + T, U, M + R)
    word_weights = over_regions[:, slots:].permute(2, 0, 1, 3)  # (U, V, T, M + R)
    region_weights = over_words[..., slots:].permute(2, 0, 3, 1)  # (U, V, R, M + T)

    region_values = _attended(images, layer.memory_regions, layer.fuse_words)  # (U, M + R, d)
    word_values = _attended(sentences, layer.memory_words, layer.fuse_regions)  # (V, M + T, d)
    to_words = word_weights.to(region_values.dtype).flatten(1, 2) @ region_values  # (U, V * T, d)
    to_regions = region_weights.to(word_values.dtype) @ word_values  # (U, V, R, d)

    fused_words = sentences.projections["own"] + to_words.unflatten(1, word_weights.shape[1:3])  # (U, V, T, d)
    fused_regions = images.projections["own"][:, None] + to_regions  # (U, V, R, d)
    text = layer.add_fused(sentences.features, fused_words)
    image = layer.add_fused(images.features[:, None], fused_regions)
    return JointState(
        text=text.flatten(0, 1),
        image=image.flatten(0, 1),
        token_mask=sentences.mask.repeat(len(images), 1),
        region_mask=images.mask.repeat_interleave(len(sentences), dim=0),
    )


def _averaged_maps_of_all_pairs(
    layer: DenseCoattentionLayer, images: PreparedSide, sentences: PreparedSide
) -> tuple[Tensor, Tensor]:
    """Both attention maps of all pairs, averaged over the heads: (V, M + T, U, M + R) each.

    One matrix product per head holds every word of the block against every region of the block.
    """
    slots = layer.num_memory_slots
    words = behind_slots(layer.affinity_words(layer.memory_words), sentences.projections["affinity"])
    regions = behind_slots(layer.affinity_regions(layer.memory_regions), images.projections["affinity"])
    head_width = layer.width // layer.num_maps
    by_head_words = (words * head_width**-0.5).flatten(0, 1).unflatten(-1, (-1, head_width)).transpose(0, 1)
    by_head_regions = regions.flatten(0, 1).unflatten(-1, (-1, head_width)).permute(1, 2, 0)
    affinity = by_head_words @ by_head_regions  # (H, V * (M + T), U * (M + R))
    affinity = affinity.unflatten(2, regions.shape[:2]).unflatten(1, words.shape[:2])  # (H, V, M + T, U, M + R)
    word_bias = mask_bias(sentences.mask, slots)[:, :, None, None]  # (V, M + T, 1, 1)
    region_bias = mask_bias(images.mask, slots)  # (U, M + R)
    over_regions, over_words = both_softmaxes(affinity, word_bias, region_bias, word_dim=2)
    return over_regions.mean(dim=0), over_words.mean(dim=0)


def _attended(side: PreparedSide, memory: Tensor, fuse: nn.Linear) -> Tensor:
    """The side's W2-projected features behind its W2-projected memory slots."""
    return behind_slots(F.linear(memory, fuse.weight[:, memory.shape[1] :]), side.projections["attended"])
