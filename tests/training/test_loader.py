"""Batches: every example once a pass, the same ones after a restart, little padding, each picture read once a pass."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby, islice

import numpy as np
import pytest

from tests.miniature import miniature_model
from vltool.errors import ConfigError
from vltool.structures import Batch
from vltool.training.loader import TaskBatches


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


def batches(pool: ThreadPoolExecutor, name: str = "vqa", **options: int) -> TaskBatches:
    _, prepared, batching = miniature_model()
    chosen = {"batch_size": 4, "seed": 0, **options}
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
