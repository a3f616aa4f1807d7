"""Scores of every image with every sentence, for retrieval.

Every image and sentence is embedded once, the first level's projections are shared where the encoder can, and the
pairs go through the rest of the network in blocks. Beside the score matrix, memory holds the prepared sentences, some
images, and one block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from vltool.models.encoder import Encoder, PreparedSide
from vltool.models.joint_model import JointModel
from vltool.models.precision import compute_in

EMBED_AT_ONCE = 256
"""Images or sentences embedded in one go."""

PAIRS_ON_CPU = 256
"""Pairs scored at once on a CPU: what its caches like best, from width 192 to 1024."""

MEMORY_SHARE = 1 / 24
"""Share of an accelerator's free memory that a block's joint state may take; a level holds some ten such at once."""


def score_all_pairs(
    model: JointModel,
    task_name: str,
    regions: Tensor,
    region_mask: Tensor,
    boxes: Tensor,
    tokens: Tensor,
    token_mask: Tensor,
    *,
    device: torch.device | str,
    precision: str = "auto",
    block_pairs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """(I, C) float32 logits of the task's decoder for every image with every sentence.

    regions (I, R, D), region_mask (I, R), boxes (I, R, 5); tokens (C, T), token_mask (C, T): as in `Batch`, on any
    device. The model must be on `device`. block_pairs: pairs scored at once, sized to memory unless given.
    progress: called with (pairs done, pairs in all) after each block.
    """
    level, decoder = model.level(task_name), model.decoder(task_name)
    encoder = model.encoder
    was_training = model.training
    model.eval()
    scores = np.empty((len(regions), len(tokens)), dtype=np.float32)
    image_order = region_mask.sum(dim=1).argsort(stable=True).cpu()
    sentence_order = token_mask.sum(dim=1).argsort(stable=True).cpu()
    block_pairs = block_pairs or pairs_that_fit(encoder, regions.shape[1], tokens.shape[1], device)
    done = 0
    try:
        with torch.inference_mode(), compute_in(precision, device), encoder.holding_weights():
            sentences = PreparedSide.concatenate(
                [
                    encoder.prepare_sentences(*chosen_of((tokens, token_mask), chosen, device))
                    for chosen in sentence_order.split(EMBED_AT_ONCE)
                ]
            )
            for chosen in image_order.split(EMBED_AT_ONCE):  # no more images than these are held prepared
                images = encoder.prepare_images(*chosen_of((regions, region_mask, boxes), chosen, device))
                for image_block, sentence_block in pair_blocks(len(images), len(sentences), block_pairs):
                    block_images, block_sentences = trimmed(images, image_block), trimmed(sentences, sentence_block)
                    state = encoder.pair_states(block_images, block_sentences, level=level)
                    logits = decoder(state, {}).float().view(len(block_images), len(block_sentences)).cpu().numpy()
                    scores[np.ix_(chosen[image_block].numpy(), sentence_order[sentence_block].numpy())] = logits
                    done += logits.size
                    if progress is not None:
                        progress(done, scores.size)
    finally:
        model.train(was_training)
    return scores


def chosen_of(inputs: tuple[Tensor, ...], chosen: Tensor, device: torch.device | str) -> list[Tensor]:
    """The chosen images or sentences of every input, on the device."""
    return [tensor[chosen.to(tensor.device)].to(device) for tensor in inputs]


def trimmed(side: PreparedSide, block: slice) -> PreparedSide:
    """The block's images or sentences without the positions that are padding in all of them."""
    num_positions = int(side.mask[block].sum(dim=1).max())
    return side.take(block, num_positions=max(num_positions, 1))


def pair_blocks(num_images: int, num_sentences: int, block_pairs: int) -> Iterator[tuple[slice, slice]]:
    """Rectangles of at most `block_pairs` pairs that cover all of them, as few images at once as will do."""
    sentences_at_once = max(1, min(num_sentences, block_pairs))
    images_at_once = max(1, block_pairs // sentences_at_once)
    for first_sentence in range(0, num_sentences, sentences_at_once):
        for first_image in range(0, num_images, images_at_once):
            yield (
                slice(first_image, min(first_image + images_at_once, num_images)),
                slice(first_sentence, min(first_sentence + sentences_at_once, num_sentences)),
            )


def pairs_that_fit(encoder: Encoder, num_regions: int, num_words: int, device: torch.device | str) -> int:
    """How many pairs a block may hold."""
    device = torch.device(device)
    if device.type != "cuda":
        return PAIRS_ON_CPU
    free_bytes, _ = torch.cuda.mem_get_info(device)
    bytes_per_pair = 4 * (num_words * encoder.text_width + num_regions * encoder.image_width)
    return max(1, int(free_bytes * MEMORY_SHARE) // bytes_per_pair)
