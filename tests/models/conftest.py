"""Small networks and batches that the tests of this room share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from vltool.models.dense_coattention import DenseCoattentionEncoder
from vltool.structures import Batch, ImageId, JointState

VOCABULARY, VECTOR_WIDTH, FEATURE_DIM, WIDTH = 20, 6, 10, 8


def mask_of(lengths: list[int], longest: int) -> torch.Tensor:
    return torch.arange(longest) < torch.tensor(lengths)[:, None]


@pytest.fixture
def make_encoder() -> Callable[..., DenseCoattentionEncoder]:
    def make(**options: object) -> DenseCoattentionEncoder:
        torch.manual_seed(0)
        chosen = {"width": WIDTH, "num_levels": 3, "num_maps": 2, "num_memory_slots": 2, "lstm_width": 5} | options
        return DenseCoattentionEncoder(torch.randn(VOCABULARY, VECTOR_WIDTH), FEATURE_DIM, **chosen).double().eval()

    return make


@pytest.fixture
def batch() -> Batch:
    """3 images of up to 5 regions, 4 sentences of up to 6 words, 5 rows."""
    generator = torch.Generator().manual_seed(1)
    return Batch(
        regions=torch.randn(3, 5, FEATURE_DIM, generator=generator, dtype=torch.float64),
        region_mask=mask_of([5, 3, 4], 5),
        boxes=torch.rand(3, 5, 5, generator=generator, dtype=torch.float64),
        tokens=torch.randint(1, VOCABULARY, (4, 6), generator=generator),
        token_mask=mask_of([6, 2, 4, 1], 6),
        rows=torch.tensor([[0, 0], [0, 1], [1, 2], [2, 3], [2, 0]]),
        example_ids=("a", "b", "c", "d", "e"),
        image_ids=(ImageId("world:0"), ImageId("world:1"), ImageId("world:2")),
    )


@pytest.fixture
def state() -> JointState:
    """3 rows of up to 4 words and 5 regions, both 8 wide."""
    generator = torch.Generator().manual_seed(2)
    return JointState(
        text=torch.randn(3, 4, WIDTH, generator=generator, dtype=torch.float64),
        image=torch.randn(3, 5, WIDTH, generator=generator, dtype=torch.float64),
        token_mask=mask_of([4, 2, 3], 4),
        region_mask=mask_of([3, 5, 1], 5),
    )
