"""The first dense co-attention level, when images and sentences are in several rows each.

Everything that level projects depends on one image or one sentence alone, so it is projected once for each. What is
left for a row is the affinity, the two softmaxes and the two weighted sums: no d x d product.

Shapes: U images of R regions, V sentences of T words, H maps, M memory slots, d wide.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vltool.models.co_attention import behind_slots, bias_where_masked, both_softmaxes
from vltool.models.co_attention_layer import DenseCoattentionLayer
from vltool.models.encoder import PreparedSide
from vltool.structures import JointState


def prepare_words(layer: DenseCoattentionLayer, text: Tensor, mask: Tensor) -> PreparedSide:
    """Word features (V, T, d) with what `layer` makes of them before it meets an image."""
    fuses = {"own": layer.fuse_words, "other": layer.fuse_regions}
    return _prepare(text, mask, layer.affinity_words, layer.memory_words, **fuses)


def prepare_regions(layer: DenseCoattentionLayer, image: Tensor, mask: Tensor) -> PreparedSide:
    """Region features (U, R, d) with what `layer` makes of them before it meets a sentence."""
    fuses = {"own": layer.fuse_regions, "other": layer.fuse_words}
    return _prepare(image, mask, layer.affinity_regions, layer.memory_regions, **fuses)


def _prepare(
    features: Tensor, mask: Tensor, affinity: nn.Linear, memory: Tensor, *, own: nn.Linear, other: nn.Linear
) -> PreparedSide:
    """own: the side's own fuse, with its W1; other: the other side's, whose W2 this side is attended through.

    Shared is what the side's memory slots (M, d) are projected to.
    """
    width = features.shape[-1]
    own_weight, attended_weight = own.weight[:, :width], other.weight[:, width:]
    projections = {
        "affinity": affinity(features),
        "own": F.linear(features, own_weight, own.bias),
        "attended": F.linear(features, attended_weight),
    }
    shared = {"affinity": affinity(memory), "attended": F.linear(memory, attended_weight)}
    return PreparedSide(features, mask, projections, shared)


def first_level_of_rows(layer: DenseCoattentionLayer, images: PreparedSide, sentences: PreparedSide) -> JointState:
    """(S_1, I_1) of N rows: image n with sentence n, from what was prepared with `layer` (and gathered since)."""
    words, regions = _with_slots(sentences, "affinity"), _with_slots(images, "affinity")
    word_weights, region_weights = layer.averaged_maps(words, regions, sentences.mask, images.mask)
    region_values = _with_slots(images, "attended")  # (N, M + R, d)
    word_values = _with_slots(sentences, "attended")  # (N, M + T, d)
    fused_words = sentences.projections["own"] + word_weights.to(region_values.dtype) @ region_values
    fused_regions = images.projections["own"] + region_weights.to(word_values.dtype) @ word_values
    text = layer.add_fused(sentences.features, fused_words)
    image = layer.add_fused(images.features, fused_regions)
    return JointState(text, image, sentences.mask, images.mask)


def first_level_of_all_pairs(layer: DenseCoattentionLayer, images: PreparedSide, sentences: PreparedSide) -> JointState:
    """(S_1, I_1) of all U * V pairs, image-major, of what was prepared with `layer`: its own, without dropout."""
    slots, (num_images, num_regions) = layer.num_memory_slots, images.mask.shape
    over_regions, over_words = _averaged_maps_of_all_pairs(layer, images, sentences)  # (V, M + T, U, M + R)
    word_weights = over_regions[:, slots:].permute(2, 0, 1, 3)  # (U, V, T, M + R)
    region_weights = over_words[..., slots:].permute(0, 2, 3, 1)  # (V, U, R, M + T)

    region_values = _with_slots(images, "attended")  # (U, M + R, d)
    word_values = _with_slots(sentences, "attended")  # (V, M + T, d)
    text, fused_text = _own_and_fused(sentences)  # (V, T, d)
    image, fused_image = _own_and_fused(images)  # (U, R, d)
    fused_words = fused_text.flatten(0, 1).expand(num_images, -1, -1)  # (U, V * T, d)
    fused_words = torch.baddbmm(fused_words, word_weights.to(text.dtype).flatten(1, 2), region_values)
    fused_regions = fused_image.flatten(0, 1).expand(len(sentences), -1, -1)  # (V, U * R, d)
    fused_regions = torch.baddbmm(fused_regions, region_weights.to(image.dtype).flatten(1, 2), word_values)
    fused_regions = fused_regions.unflatten(1, (num_images, num_regions)).transpose(0, 1)  # (U, V, R, d)

    return JointState(
        text=torch.maximum(text, fused_words.unflatten(1, text.shape[:2])).flatten(0, 1),
        image=_larger(image[:, None], fused_regions).flatten(0, 1),
        token_mask=sentences.mask.repeat(num_images, 1),
        region_mask=images.mask.repeat_interleave(len(sentences), dim=0),
    )


def _averaged_maps_of_all_pairs(
    layer: DenseCoattentionLayer, images: PreparedSide, sentences: PreparedSide
) -> tuple[Tensor, Tensor]:
    """Both attention maps of all pairs, averaged over the heads: (V, M + T, U, M + R) each.

    One matrix product per head holds every word of the block against every region of the block.
    """
    slots = layer.num_memory_slots
    words, regions = _with_slots(sentences, "affinity"), _with_slots(images, "affinity")
    head_width = layer.width // layer.num_maps
    by_head_words = (words * head_width**-0.5).flatten(0, 1).unflatten(-1, (-1, head_width)).transpose(0, 1)
    by_head_regions = regions.flatten(0, 1).unflatten(-1, (-1, head_width)).permute(1, 2, 0)
    affinity = by_head_words @ by_head_regions  # (H, V * (M + T), U * (M + R))
    affinity = affinity.unflatten(2, regions.shape[:2]).unflatten(1, words.shape[:2])  # (H, V, M + T, U, M + R)
    word_bias = bias_where_masked(sentences.mask, slots)  # (V, M + T)
    word_bias = None if word_bias is None else word_bias[:, :, None, None]
    region_bias = bias_where_masked(images.mask, slots)  # (U, M + R)
    over_regions, over_words = both_softmaxes(affinity, word_bias, region_bias, row_dim=2)
    return over_regions.mean(dim=0), over_words.mean(dim=0)


def _larger(first: Tensor, second: Tensor) -> Tensor:
    """The element-wise maximum of tensors that broadcast, in rows however theirs lie."""
    if torch.is_grad_enabled():
        return torch.maximum(first, second).contiguous()
    return torch.maximum(first, second, out=first.new_empty(torch.broadcast_shapes(first.shape, second.shape)))


def _own_and_fused(side: PreparedSide) -> tuple[Tensor, Tensor]:
    """The features, and what they and their own half of W add up to: x + ReLU(z) = max(x, x + z)."""
    own = side.projections["own"]
    features = side.features.to(own.dtype)
    return features, features + own


def _with_slots(side: PreparedSide, name: str) -> Tensor:
    """A projection of the side's features behind the same of its memory slots."""
    return behind_slots(side.shared[name], side.projections[name])
