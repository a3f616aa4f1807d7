"""What is paired: images and sentences by their places, read when they are needed, and the tiles they are cut into."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vltool.structures import ImageId
from vltool.tasks.batching import Batching

IMAGES_IN_TILE = 256
"""Images embedded in one go, and held prepared while they meet all sentences."""

SENTENCES_IN_TILE = 512
"""Sentences of a tile. They are embedded again for the next images, which costs what some 1 % of their pairs cost."""

Chosen = np.ndarray


@dataclass(frozen=True)
class PairInputs:
    """I images and C sentences. images and sentences give the tensors of chosen places, as a `Batch` holds them.

    num_regions (I,), num_words (C,): their lengths, which say what is scored together.
    images: places -> regions (U, R, D), region_mask (U, R), boxes (U, R, 5); sentences: places -> tokens (V, T),
    token_mask (V, T).
    """

    num_regions: np.ndarray
    num_words: np.ndarray
    images: Callable[[Chosen], tuple[Tensor, Tensor, Tensor]]
    sentences: Callable[[Chosen], tuple[Tensor, Tensor]]

    @property
    def shape(self) -> tuple[int, int]:
        """(I, C)."""
        return len(self.num_regions), len(self.num_words)

    @classmethod
    def of_tensors(
        cls, regions: Tensor, region_mask: Tensor, boxes: Tensor, tokens: Tensor, token_mask: Tensor
    ) -> PairInputs:
        """Those that lie in memory, padded, on any device."""

        def images(chosen: Chosen) -> tuple[Tensor, Tensor, Tensor]:
            places = torch.from_numpy(chosen).to(regions.device)
            return regions[places], region_mask[places], boxes[places]

        def sentences(chosen: Chosen) -> tuple[Tensor, Tensor]:
            places = torch.from_numpy(chosen).to(tokens.device)
            return tokens[places], token_mask[places]

        return cls(region_mask.sum(dim=1).cpu().numpy(), token_mask.sum(dim=1).cpu().numpy(), images, sentences)

    @classmethod
    def of_batching(
        cls, batching: Batching, image_ids: Sequence[ImageId], sentences: Sequence[str], *, task: str
    ) -> PairInputs:
        """Pictures and sentences of a run, as a task reads them; regions are read when their tile comes."""
        with batching.regions.views() as view:
            num_regions = np.array([view(image_id).num_regions for image_id in image_ids])
        return cls(
            num_regions,
            np.array([len(batching.token_ids[sentence]) for sentence in sentences]),
            lambda chosen: batching.images([image_ids[k] for k in chosen]),
            lambda chosen: batching.sentences([sentences[k] for k in chosen], task=task),
        )

    def tiles(self) -> list[Tile]:
        """Tiles that cover every pair once; those of the same images stand together, and lengths go up."""
        image_chunks, sentence_chunks = (
            in_chunks(self.num_regions, IMAGES_IN_TILE),
            in_chunks(self.num_words, SENTENCES_IN_TILE),
        )
        pairs = [(i, s) for i in range(len(image_chunks)) for s in range(len(sentence_chunks))]
        return [Tile(i, s, image_chunks[i], sentence_chunks[s]) for i, s in pairs]


@dataclass(frozen=True)
class Tile:
    """Some images with some sentences, by their places; the unit of scoring, of keeping and of sharing out."""

    row: int
    column: int
    images: np.ndarray
    sentences: np.ndarray

    @property
    def name(self) -> str:
        return f"{self.row:05}-{self.column:05}"

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.images), len(self.sentences)


def in_chunks(lengths: np.ndarray, size: int) -> list[np.ndarray]:
    """Places in the order of their lengths, `size` at a time, so that what is scored together has little padding."""
    order = np.argsort(lengths, kind="stable")
    return [order[start : start + size] for start in range(0, len(order), size)]


def in_slices(length: int, size: int) -> Iterator[slice]:
    """Slices of `size` (at least one) that cover `length`."""
    for start in range(0, length, max(1, size)):
        yield slice(start, min(start + max(1, size), length))
