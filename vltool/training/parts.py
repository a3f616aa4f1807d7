"""Parts of a batch: what accumulation computes one after the other, and several processes side by side."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vltool.structures import Batch


def part_of(batch: Batch, number: int, num_parts: int) -> Batch | None:
    """Part `number` of the batch's examples cut into `num_parts`, as even as can be; None if it has no example.

    It holds only the images and sentences that its own rows name; nothing is padded less than in the whole batch.
    """
    if num_parts == 1:
        return batch
    start, stop = number * batch.num_examples // num_parts, (number + 1) * batch.num_examples // num_parts
    return take_examples(batch, start, stop) if stop > start else None


def take_examples(batch: Batch, start: int, stop: int) -> Batch:
    """Examples `start` to `stop` of a batch, as a batch of their own."""
    rows_per_example = len(batch.rows) // batch.num_examples
    rows = batch.rows[start * rows_per_example : stop * rows_per_example]  # (n, 2)
    images, image_of_row = _distinct(rows[:, 0])
    sentences, sentence_of_row = _distinct(rows[:, 1])
    return Batch(
        regions=batch.regions[images],
        region_mask=batch.region_mask[images],
        boxes=batch.boxes[images],
        tokens=batch.tokens[sentences],
        token_mask=batch.token_mask[sentences],
        rows=torch.stack([image_of_row, sentence_of_row], dim=1),
        example_ids=batch.example_ids[start:stop],
        image_ids=tuple(batch.image_ids[k] for k in images.tolist()),
        inputs={name: tensor[start:stop] for name, tensor in batch.inputs.items()},
        targets={name: tensor[start:stop] for name, tensor in batch.targets.items()},
    )


def seed_of_part(seed: int, update: int, number: int) -> int:
    """What dropout in part `number` of an update is drawn from; the first part's is that of the whole batch."""
    if number == 0:
        return (seed << 32) + update
    return int(np.random.SeedSequence((seed, update, number)).generate_state(1, np.uint64)[0] >> 1)


def _distinct(numbers: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct ones in rising order, and for each number its place among them."""
    found: tuple[Tensor, Tensor] = torch.unique(numbers, return_inverse=True)
    return found
