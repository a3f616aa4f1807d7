"""A store filled with the regions of pictures: what is there already is left, the others are described.

By this process or by several of this machine; by machines of a cluster in `shards.py`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vltool.detectors.detector import Detector
from vltool.detectors.selection import Recipe
from vltool.errors import StoreError
from vltool.features.ahead import describe_ahead
from vltool.features.describe import Job, Outcome
from vltool.features.sources import Picture
from vltool.features.store import MAX_KEY_BYTES, RegionStore
from vltool.features.worker import Setup

FEW_PICTURES = {True: 100, False: 2}  # that a small, or another, network is through with before processes start
MOST_WORKERS = 16
GPU_BATCH = 8
SMALL_NETWORK = 10_000_000  # parameters; smaller ones lose more by waiting for a second thread than it gives

Boxes = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Way:
    """How pictures are described. workers: processes, 0 as many as suit; batch_size: pictures at once, 0 as suits."""

    detector: Detector
    recipe: Recipe
    workers: int
    batch_size: int


@dataclass(frozen=True)
class Described:
    """What came of a picture: stored with so many regions, there already (None), or the error that kept it out."""

    picture: Picture
    num_regions: int | None = None
    error: str = ""


@dataclass(frozen=True)
class ToDo:
    """Pictures sorted by what is to be done; a job's number is the place of its picture in `pictures`."""

    pictures: Sequence[Picture]
    stored: list[Picture]
    misfits: list[Described]
    jobs: list[Job]


def sort_out(pictures: Sequence[Picture], store: RegionStore, boxes: Boxes | None) -> ToDo:
    """What is to be done about pictures. Raises StoreError where a stored one has other boxes than are given now."""
    todo = ToDo(pictures, [], [], [])
    for number, picture in enumerate(pictures):
        reason = ""
        if picture.image_id is None:
            reason = f"{picture.path}: no digits in the file's name, as the --image-id pattern asks for"
        elif len(picture.image_id.encode()) > MAX_KEY_BYTES:
            reason = f"{picture.path}: its image id has more than {MAX_KEY_BYTES} bytes; choose a shorter --image-id"
        elif picture.image_id in store:
            check_stored_boxes(store, picture.image_id, boxes)
            todo.stored.append(picture)
        elif boxes is not None and picture.image_id not in boxes:
            reason = f"{picture.path}: no boxes given for image {picture.image_id!r}"
        else:
            given = None if boxes is None else boxes[picture.image_id]
            todo.jobs.append(Job(number, picture.path, picture.image_id, given))
        if reason:
            todo.misfits.append(Described(picture, error=reason))
    return todo


def check_stored_boxes(store: RegionStore, image_id: str, boxes: Boxes | None) -> None:
    """Raises StoreError where a stored picture has other boxes than are given now."""
    if boxes is None or image_id not in boxes:
        return
    if not np.array_equal(store.get(image_id).boxes, boxes[image_id].astype(np.float32)):
        raise StoreError(
            f"{store.path}: image {image_id!r} was stored with other boxes than are given now. "
            "Write to another store (--out), or delete this one first"
        )


def fill(pictures: Sequence[Picture], store: RegionStore, boxes: Boxes | None, way: Way) -> Iterator[Described]:
    """Put every picture into a store, and say what came of each. What is there already comes first."""
    todo = sort_out(pictures, store, boxes)
    yield from (Described(picture) for picture in todo.stored)
    yield from todo.misfits
    if todo.jobs:
        store.flush(complete=False)
        setup = setup_of(way, store.header, num_jobs=len(todo.jobs))
        for outcome in run(todo.jobs, setup):
            yield take(outcome, pictures[outcome.number], store)


def take(outcome: Outcome, picture: Picture, store: RegionStore) -> Described:
    """Put what came of a picture into a store."""
    if outcome.error:
        return Described(picture, error=outcome.error)
    store.put_encoded(str(picture.image_id), outcome.data, outcome.num_regions)
    return Described(picture, outcome.num_regions)


def setup_of(way: Way, header: dict[str, Any], *, num_jobs: int) -> Setup:
    """How many processes describe the pictures, with how many threads, and how many pictures at once."""
    num_cores = len(os.sched_getaffinity(0))
    on_gpu = way.detector.device != "cpu"
    small = is_small(way.detector)
    alone = on_gpu or way.batch_size > 1 or num_jobs <= FEW_PICTURES[small]
    num_workers = way.workers or (1 if alone else min(num_cores, MOST_WORKERS))
    return Setup(
        way.detector,
        way.detector.fingerprint,
        way.recipe,
        header,
        num_workers=num_workers,
        num_threads=1 if small else max(1, num_cores // num_workers),
        batch_size=way.batch_size or batch_size_on(way.detector),
    )


def is_small(detector: Detector) -> bool:
    """Whether a second thread would only keep this network waiting."""
    return detector.num_parameters < SMALL_NETWORK


def batch_size_on(detector: Detector) -> int:
    """How many pictures at once suit the detector's device."""
    return GPU_BATCH if detector.device != "cpu" else 1


def run(jobs: Sequence[Job], setup: Setup) -> Iterator[Outcome]:
    """The outcomes of jobs in their order, from this process or from several."""
    if setup.num_workers > 1:
        from vltool.features.workers import describe_in_parallel

        yield from describe_in_parallel(jobs, setup)
    else:
        yield from run_here(jobs, setup)


def run_here(jobs: Sequence[Job], setup: Setup) -> Iterator[Outcome]:
    """The same from this process, with as many threads of torch as the setup says."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(setup.num_threads)
    try:
        yield from describe_ahead(jobs, setup)
    finally:
        torch.set_num_threads(before)


FillStore = Callable[[Sequence[Picture], RegionStore, "Boxes | None", Way], Iterator[Described]]
