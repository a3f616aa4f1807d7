"""Scores of every image with every sentence, for retrieval.

Every image and sentence is embedded once, the first level's projections are shared where the encoder can, and the
pairs go through the rest of the network in blocks. Beside the score matrix, memory holds the prepared sentences, some
images, and one block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from vltool.models.encoder import Encoder, PreparedSide
from vltool.models.joint_model import JointModel
from vltool.models.precision import compute_in, resolve_precision

EMBED_AT_ONCE = 256
"""Images or sentences embedded in one go."""

NUM_EXACT = 20
"""Best pairs of each image and sentence that are scored again: twice as many as Recall@10 looks at."""

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
    num_exact: int = NUM_EXACT,
    block_pairs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """(I, C) float32 logits of the task's decoder for every image with every sentence.

    regions (I, R, D), region_mask (I, R), boxes (I, R, 5); tokens (C, T), token_mask (C, T): as in `Batch`, on any
    device. The model must be on `device`. In bfloat16, the num_exact best sentences of each image and images of each
    sentence are scored again in float32, so that their ranks are float32's. block_pairs: pairs scored at once, sized
    to memory unless given. progress: called with (pairs done, pairs in all) after each block.
    """
    given = Inputs((regions, region_mask, boxes), (tokens, token_mask), torch.device(device))
    block_pairs = block_pairs or pairs_that_fit(model.encoder, regions.shape[1], tokens.shape[1], device)
    level, decoder = model.level(task_name), model.decoder(task_name)
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode(), model.encoder.holding_weights():
            with compute_in(precision, device):
                scores = score_in_blocks(model.encoder, decoder, given, level, block_pairs, progress)
            if num_exact and resolve_precision(precision, device) != "float32":
                score_best_again(scores, model.encoder, decoder, given, level, block_pairs, num_exact)
    finally:
        model.train(was_training)
    return scores


class Inputs(NamedTuple):
    """What is to be scored: regions, mask and boxes of I images; tokens and mask of C sentences."""

    images: tuple[Tensor, ...]
    sentences: tuple[Tensor, ...]
    device: torch.device

    def image_order(self) -> Tensor:
        """Images by their number of regions, so that a block has little padding."""
        return self.images[1].sum(dim=1).argsort(stable=True).cpu()

    def sentence_order(self) -> Tensor:
        return self.sentences[1].sum(dim=1).argsort(stable=True).cpu()

    def prepared_images(self, encoder: Encoder, chosen: Tensor) -> PreparedSide:
        return encoder.prepare_images(*chosen_of(self.images, chosen, self.device))

    def prepared_sentences(self, encoder: Encoder, order: Tensor) -> PreparedSide:
        """All sentences in this order, embedded some at a time."""
        chunks = order.split(EMBED_AT_ONCE)
        return PreparedSide.concatenate(
            [encoder.prepare_sentences(*chosen_of(self.sentences, chunk, self.device)) for chunk in chunks]
        )


def score_in_blocks(
    encoder: Encoder,
    decoder: nn.Module,
    given: Inputs,
    level: int,
    block_pairs: int,
    progress: Callable[[int, int], None] | None,
) -> np.ndarray:
    """(I, C) scores, a rectangle of pairs at a time."""
    sentence_order = given.sentence_order()
    sentences = given.prepared_sentences(encoder, sentence_order)
    scores = np.empty((len(given.images[0]), len(sentences)), dtype=np.float32)
    done = 0
    for chosen in given.image_order().split(EMBED_AT_ONCE):  # no more images than these are held prepared
        images = given.prepared_images(encoder, chosen)
        for image_block, sentence_block in pair_blocks(len(images), len(sentences), block_pairs):
            block_images, block_sentences = trimmed(images, image_block), trimmed(sentences, sentence_block)
            state = encoder.pair_states(block_images, block_sentences, level=level)
            logits = decoder(state, {}).float().view(len(block_images), len(block_sentences)).cpu().numpy()
            scores[np.ix_(chosen[image_block].numpy(), sentence_order[sentence_block].numpy())] = logits
            done += logits.size
            if progress is not None:
                progress(done, scores.size)
    return scores


def score_best_again(
    scores: np.ndarray,
    encoder: Encoder,
    decoder: nn.Module,
    given: Inputs,
    level: int,
    block_pairs: int,
    num_exact: int,
) -> None:
    """Put float32 scores in the places of the best pairs of every image and of every sentence."""
    again = best_pairs(scores, num_exact)
    sentences = given.prepared_sentences(encoder, torch.arange(scores.shape[1]))
    for chosen in given.image_order().split(EMBED_AT_ONCE):
        images = given.prepared_images(encoder, chosen)
        rows = torch.from_numpy(np.argwhere(again[chosen.numpy()])).to(given.device)
        for block in rows.split(block_pairs):
            logits = decoder(encoder.row_states(images, sentences, block, level=level), {})
            image, sentence = block.cpu().unbind(dim=1)
            scores[chosen[image].numpy(), sentence.numpy()] = logits.float().cpu().numpy()


def best_pairs(scores: np.ndarray, count: int) -> np.ndarray:
    """(I, C) bool: the `count` best sentences of each image and the `count` best images of each sentence."""
    best = np.zeros(scores.shape, dtype=bool)
    for axis in (0, 1):
        number = min(count, scores.shape[axis])
        places = np.argpartition(-scores, number - 1, axis=axis).take(range(number), axis=axis)
        np.put_along_axis(best, places, True, axis=axis)
    return best


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
