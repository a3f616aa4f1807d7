"""A small ViLBERT, a batch of it, and what its equations as they stand make of that."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tests.models import straightforward_vilbert as straightforward
from vltool.models.vilbert.encoder import VilbertEncoder
from vltool.models.vilbert.names import encoder_names
from vltool.structures import Batch, ImageId, JointState

NUM_WORDS, FEATURE_DIM = 30, 10
SMALL: dict[str, Any] = {
    "text_width": 12,
    "text_layers": 5,
    "text_heads": 3,
    "text_hidden_width": 20,
    "image_width": 16,
    "image_layers": 4,
    "image_heads": 2,
    "image_hidden_width": 14,
    "connection_width": 8,
    "connection_heads": 4,
    "text_connections": (2, 3, 3),
    "image_connections": (1, 2, 3),
    "num_positions": 9,
    "num_task_tokens": 4,
    "initial_deviation": 0.4,
}
HEADS = (3, 2, 4)
CLS, SEP = 2, 3


def make(seed: int = 0, **options: Any) -> VilbertEncoder:
    torch.manual_seed(seed)
    encoder = VilbertEncoder(torch.empty(NUM_WORDS, 0), FEATURE_DIM, **SMALL | options).double().eval()
    for parameter in encoder.parameters():  # norms and biases too, so that none can be taken for another
        nn.init.normal_(parameter, std=0.4)
    return encoder


def of_authors(encoder: VilbertEncoder) -> dict[str, Tensor]:
    """The encoder's weights under the names of the authors' files."""
    found = {}
    ours = dict(encoder.named_parameters())
    for name, theirs in encoder_names(encoder).items():
        found |= zip(theirs, ours[name].detach().chunk(len(theirs)), strict=True)
    return found


def mask_of(lengths: list[int], longest: int) -> Tensor:
    return torch.arange(longest) < torch.tensor(lengths)[:, None]


PIECES = [[CLS, 7, 9, 11, SEP], [CLS, 8, SEP], [CLS, 20, 21, 22, 23, 24, 25, SEP]]
TASK_ROWS = [1, 1, 3]
NUM_REGIONS = [4, 1, 3]
ROWS = [[0, 0], [0, 2], [1, 1], [2, 1], [1, 2]]


def small_batch() -> Batch:
    """Sentences and pictures of different lengths; what lies in the padding is not zero."""
    generator = torch.Generator().manual_seed(5)
    tokens = torch.randint(4, NUM_WORDS, (3, 9), generator=generator)
    for place, (pieces, task) in enumerate(zip(PIECES, TASK_ROWS, strict=True)):
        framed = [CLS, NUM_WORDS + task, *pieces[1:]]
        tokens[place, : len(framed)] = torch.tensor(framed)
    return Batch(
        regions=torch.randn(3, 4, FEATURE_DIM, generator=generator, dtype=torch.float64),
        region_mask=mask_of(NUM_REGIONS, 4),
        boxes=torch.rand(3, 4, 5, generator=generator, dtype=torch.float64),
        tokens=tokens,
        token_mask=mask_of([len(pieces) + 1 for pieces in PIECES], 9),
        rows=torch.tensor(ROWS),
        example_ids=tuple("abcde"),
        image_ids=tuple(ImageId(f"world:{k}") for k in range(3)),
    )


def expected(encoder: VilbertEncoder, batch: Batch, level: int) -> list[tuple[Tensor, Tensor]]:
    return straightforward_rows(of_authors(encoder), batch, level)


def straightforward_rows(weights: dict[str, Tensor], batch: Batch, level: int) -> list[tuple[Tensor, Tensor]]:
    """(words, regions) of each row of the batch, from weights under the authors' names."""
    return [
        straightforward.encode(
            weights,
            PIECES[sentence],
            TASK_ROWS[sentence],
            batch.regions[image, : NUM_REGIONS[image]],
            batch.boxes[image, : NUM_REGIONS[image]],
            heads=HEADS,
            text_connections=SMALL["text_connections"],
            image_connections=SMALL["image_connections"],
            level=level,
        )
        for image, sentence in batch.rows.tolist()
    ]


def largest_difference(state: JointState, rows: list[tuple[Tensor, Tensor]]) -> float:
    found = []
    for k, (text, image) in enumerate(rows):
        assert (int(state.token_mask[k].sum()), int(state.region_mask[k].sum())) == (len(text), len(image))
        found += [state.text[k, : len(text)] - text, state.image[k, : len(image)] - image]
    return max(float(difference.abs().max()) for difference in found)
