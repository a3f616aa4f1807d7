"""Batches: every example once a pass, the same ones after a restart, little padding, each picture read once a pass."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby, islice
from typing import Any

import numpy as np
import pytest
import torch

from tests.miniature import miniature_model
from vltool.engines.processes import Processes
from vltool.errors import ConfigError
from vltool.structures import Batch
from vltool.training.loader import TaskBatches
from vltool.training.parts import part_of


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


def batches(pool: ThreadPoolExecutor, name: str = "vqa", **options: Any) -> TaskBatches:
    _, prepared, batching = miniature_model()
    chosen: dict[str, Any] = {"batch_size": 4, "seed": 0, **options}
    return TaskBatches(prepared.tasks[name], prepared.examples[name]["train"], batching, pool=pool, **chosen)


def ids(found: Iterator[Batch], count: int) -> list[tuple[str, ...]]:
    return [batch.example_ids for batch in islice(found, count)]


@pytest.mark.parametrize(
    "options", [{}, {"window_pictures": 3}, {"batch_size": 2}, {"batch_size": 2, "window_pictures": 3}]
)
def test_every_pass_has_every_example_once_in_another_order(pool: ThreadPoolExecutor, options: dict[str, int]) -> None:
    found = batches(pool, **options)
    per_pass = len(found.examples) // found.batch_size
    first, second = ids(found, per_pass), ids(found, per_pass)
    everything = sorted(example.example_id for example in found.examples)
    assert sorted(name for batch in first for name in batch) == everything
    assert sorted(name for batch in second for name in batch) == everything
    assert first != second


@pytest.mark.parametrize("name", ["vqa", "caption_retrieval"])
@pytest.mark.parametrize("start", [1, 5, 7, 13])
def test_batches_after_a_restart_are_those_of_an_undisturbed_run(
    pool: ThreadPoolExecutor, start: int, name: str
) -> None:
    options = {"window_pictures": 3, "batches_sorted": 3, "batch_size": 2}
    undisturbed = list(islice(batches(pool, name, **options), start + 4))[start:]
    restarted = list(islice(batches(pool, name, start=start, **options), 4))
    for one, other in zip(undisturbed, restarted, strict=True):
        assert one.example_ids == other.example_ids
        np.testing.assert_array_equal(one.rows, other.rows)
        np.testing.assert_array_equal(one.regions, other.regions)


def test_a_picture_is_read_in_one_window_of_a_pass_only(pool: ThreadPoolExecutor) -> None:
    found = batches(pool, window_pictures=2, batches_sorted=1, batch_size=6)  # two pictures of three questions a batch
    pictures = [set(batch.image_ids) for batch in islice(found, len(found.examples) // 6)]
    assert all(len(held) == 2 for held in pictures)
    assert len(set.union(*pictures)) == 8
    assert len(list(groupby(sorted(p for held in pictures for p in held)))) == sum(map(len, pictures))


def test_examples_of_like_length_come_together(pool: ThreadPoolExecutor) -> None:
    def padding(**options: int) -> int:
        found = batches(pool, batch_size=2, **options)
        return sum(int((~batch.region_mask).sum()) for batch in islice(found, 12 * 8))  # eight passes

    assert padding(batches_sorted=3) < 0.7 * padding(batches_sorted=1)


def test_features_reach_the_batch_in_the_stores_own_precision(pool: ThreadPoolExecutor) -> None:
    batch = next(batches(pool))
    assert str(batch.regions.dtype) == "torch.float16"
    assert len(batch.image_ids) == len(set(batch.image_ids)) == len(batch.regions)


def test_a_batch_that_the_examples_do_not_fill_is_refused(pool: ThreadPoolExecutor) -> None:
    assert len(next(batches(pool, batch_size=24)).example_ids) == 24
    with pytest.raises(
        ConfigError, match=r"batch_size \(task vqa\) holds 25; legal is 1 to 24, .* sources in tasks\.vqa"
    ):
        batches(pool, batch_size=25)


@pytest.mark.parametrize("name", ["vqa", "caption_retrieval", "grounding", "masked_words", "alignment"])
@pytest.mark.parametrize(("size", "accumulate"), [(2, 1), (3, 1), (2, 2)])
def test_the_slice_of_a_process_is_that_of_the_whole_batch_bit_for_bit(
    pool: ThreadPoolExecutor, name: str, size: int, accumulate: int
) -> None:
    """Seven examples are not divided evenly; negatives come from the whole batch."""
    for number in range(3):
        whole = batches(pool, name, batch_size=7).build(number)
        for rank in range(size):
            own = batches(pool, name, batch_size=7, processes=Processes(rank, size)).build(number)
            assert own.example_ids == whole.example_ids and own.image_ids == whole.image_ids
            assert torch.equal(own.rows, whole.rows) and torch.equal(own.region_mask, whole.region_mask)
            for place in range(rank * accumulate, (rank + 1) * accumulate):
                one, other = (part_of(batch, place, size * accumulate) for batch in (own, whole))
                assert one is not None and other is not None
                for field in ("regions", "region_mask", "boxes", "tokens", "token_mask", "rows"):
                    assert torch.equal(getattr(one, field), getattr(other, field)), field
                for mine, theirs in ((one.inputs, other.inputs), (one.targets, other.targets)):
                    assert all(torch.equal(mine[key], theirs[key]) for key in theirs)


def test_features_of_the_others_pictures_are_left_unread(pool: ThreadPoolExecutor) -> None:
    own = batches(pool, batch_size=6, processes=Processes(1, 2)).build(0)
    part = part_of(own, 1, 2)
    assert part is not None
    filled = {image_id for image_id, regions in zip(own.image_ids, own.regions, strict=True) if regions.any()}
    assert filled == set(part.image_ids) < set(own.image_ids)
