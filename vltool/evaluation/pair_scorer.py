"""Scores of tiles of image-sentence pairs by one task's decoder.

A tile's images and sentences are embedded once, the first level's projections are shared where the encoder can, and
its pairs go through the rest of the network in blocks.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from vltool.evaluation.block_threads import for_each_block
from vltool.evaluation.pair_inputs import PairInputs, Tile, in_slices
from vltool.models.derived import unchanged
from vltool.models.encoder import PreparedSide
from vltool.models.joint_model import JointModel
from vltool.models.precision import compute_in, resolve_precision
from vltool.provenance import versions

PAIRS_ON_CPU = 128
"""Pairs that a thread scores at once on a CPU: enough for products at full rate, few enough for what caches hold."""

MEMORY_SHARE = 1 / 24
"""Share of an accelerator's free memory that a block's joint state may take; a level holds some ten such at once."""


class PairScorer:
    """Scores tiles of pairs by one task's decoder.

    model: on `device`. block_pairs: pairs that go through the network at once, sized to memory unless given.
    """

    def __init__(
        self,
        model: JointModel,
        task_name: str,
        inputs: PairInputs,
        *,
        device: torch.device | str,
        precision: str = "auto",
        block_pairs: int | None = None,
    ) -> None:
        self.model, self.inputs, self.device = model, inputs, torch.device(device)
        self.task_name, self.precision = task_name, resolve_precision(precision, device)
        self.level, self.decoder = model.level(task_name), model.decoder(task_name)
        self._block_pairs = block_pairs
        self._held: tuple[tuple[int, bool], PreparedSide] | None = None

    @property
    def is_exact(self) -> bool:
        """Whether the first scores are float32's already."""
        return self.precision == "float32"

    @property
    def block_pairs(self) -> int:
        if self._block_pairs is None:
            longest = int(self.inputs.num_regions.max()), int(self.inputs.num_words.max())
            self._block_pairs = pairs_that_fit(self.model, *longest, self.device)
        return self._block_pairs

    @block_pairs.setter
    def block_pairs(self, value: int) -> None:
        self._block_pairs = value

    def score(self, tile: Tile, *, after_block: Callable[[int], None] | None = None) -> np.ndarray:
        """Logits of a tile's pairs, float32 of its shape. after_block: called with the pairs of each block done."""
        scores = np.empty(tile.shape, np.float32)

        def done(block: tuple[slice, slice], logits: np.ndarray) -> None:
            scores[block] = logits
            if after_block is not None:
                after_block(logits.size)

        with unchanging(self.model):
            with compute_in(self.precision, self.device):
                images, sentences = self._images(tile), self._sentences(tile)

            def score_block(block: tuple[slice, slice]) -> np.ndarray:
                sides = trimmed(images, block[0]), trimmed(sentences, block[1])
                state = self.model.encoder.pair_states(*sides, level=self.level)
                found: np.ndarray = self.decoder(state, {}).float().view(len(sides[0]), len(sides[1])).cpu().numpy()
                return found

            blocks = list(pair_blocks(*tile.shape, self.block_pairs))
            for_each_block(score_block, blocks, done, device=self.device, precision=self.precision)
        return scores

    def score_exactly(
        self, tile: Tile, pairs: np.ndarray, *, after_block: Callable[[int], None] | None = None
    ) -> np.ndarray:
        """(N,) float32 logits, computed in float32, of some of a tile's pairs. pairs (N, 2): rows and columns in it."""
        found: list[np.ndarray] = []

        def done(block: Tensor, logits: np.ndarray) -> None:
            found.append(logits)
            if after_block is not None:
                after_block(len(block))

        with unchanging(self.model):
            images, sentences = self._images(tile, exactly=True), self._sentences(tile)

            def score_block(block: Tensor) -> np.ndarray:
                state = self.model.encoder.row_states(images, sentences, block, level=self.level)
                logits: np.ndarray = self.decoder(state, {}).float().flatten().cpu().numpy()
                return logits

            blocks = torch.from_numpy(pairs).to(self.device).split(self.block_pairs)
            for_each_block(score_block, blocks, done, device=self.device, precision="float32")
        return np.concatenate(found)

    def _images(self, tile: Tile, *, exactly: bool = False) -> PreparedSide:
        """The tile's images, prepared; those of the tile before where they are the same."""
        key = (tile.row, exactly)
        if self._held is None or self._held[0] != key:
            self._held = None  # before the next ones take memory
            tensors = [tensor.to(self.device) for tensor in self.inputs.images(tile.images)]
            self._held = key, self.model.encoder.prepare_images(*tensors)
        return self._held[1]

    def _sentences(self, tile: Tile) -> PreparedSide:
        tensors = [tensor.to(self.device) for tensor in self.inputs.sentences(tile.sentences)]
        return self.model.encoder.prepare_sentences(*tensors)

    def fingerprint(self) -> str:
        """Of everything that the scores depend on: weights, regions, words, precision. Reads all images once."""
        digest = hashlib.blake2b(digest_size=16)
        facts = self.task_name, self.level, self.precision, self.device.type, versions()
        digest.update(repr(facts).encode())
        weights = {**self.model.encoder.state_dict(prefix="encoder."), **self.decoder.state_dict(prefix="decoder.")}
        for name, tensor in weights.items():
            digest.update(name.encode())
            _take(digest, tensor)
        tiles = self.inputs.tiles()
        for tile in tiles:
            read = [self.inputs.images(tile.images)] if tile.column == 0 else []
            read += [self.inputs.sentences(tile.sentences)] if tile.row == 0 else []  # type: ignore[list-item]
            digest.update(repr((tile.name, tile.shape)).encode())
            for tensor in (tensor for side in read for tensor in side):
                _take(digest, tensor)
        return digest.hexdigest()


def _take(digest: hashlib.blake2b, tensor: Tensor) -> None:
    digest.update(repr((tuple(tensor.shape), tensor.dtype)).encode())
    digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)


@contextmanager
def unchanging(model: JointModel) -> Iterator[None]:
    """A block in which a model is evaluated and does not change; afterwards it is in the mode it was in."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad(), unchanged(model, for_long=True):
            yield
    finally:
        model.train(was_training)


def trimmed(side: PreparedSide, block: slice) -> PreparedSide:
    """The block's images or sentences without the positions that are padding in all of them."""
    num_positions = int(side.mask[block].sum(dim=1).max())
    return side.take(block, num_positions=max(num_positions, 1))


def pair_blocks(num_images: int, num_sentences: int, block_pairs: int) -> Iterator[tuple[slice, slice]]:
    """Rectangles of at most `block_pairs` pairs that cover all of them, as square as will do.

    What is done for an image or a sentence alone is then shared by the most pairs.
    """
    images_at_once = min(num_images, 1 << (math.isqrt(max(1, block_pairs)).bit_length() - 1))  # a power of two
    sentences_at_once = max(1, min(num_sentences, block_pairs // images_at_once))
    images_at_once = max(1, min(num_images, block_pairs // sentences_at_once))
    for sentences in in_slices(num_sentences, sentences_at_once):
        for images in in_slices(num_images, images_at_once):
            yield images, sentences


def pairs_that_fit(model: JointModel, num_regions: int, num_words: int, device: torch.device) -> int:
    """How many pairs a block may hold."""
    if device.type != "cuda":
        return PAIRS_ON_CPU
    free_bytes, _ = torch.cuda.mem_get_info(device)
    encoder = model.encoder
    bytes_per_pair = 4 * (num_words * encoder.text_width + num_regions * encoder.image_width)
    return max(1, int(free_bytes * MEMORY_SHARE) // bytes_per_pair)
