"""Images to region features: every picture through a detector and a recipe into a store, going on where it stopped."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vltool.detectors.detector import Detector
from vltool.detectors.selection import Recipe
from vltool.errors import ConfigError, DataError, StoreError
from vltool.features.ahead import describe_ahead
from vltool.features.describe import Job, Outcome
from vltool.features.failures import Failures
from vltool.features.header import make_header
from vltool.features.sources import Picture, find_images, name_pictures, parse_shard, shard_of
from vltool.features.store import MAX_KEY_BYTES, RegionStore
from vltool.features.worker import Setup
from vltool.structures import ImageId

__all__ = ["ExtractionResult", "extract", "parse_shard"]

FEW_PICTURES = {True: 100, False: 2}  # that a small, or another, network is through with before processes start
MOST_WORKERS = 16
GPU_BATCH = 8
SMALL_NETWORK = 10_000_000  # parameters; smaller ones lose more by waiting for a second thread than it gives


@dataclass(frozen=True)
class ExtractionResult:
    """What an extraction did. images = stored + skipped (there already) + failed; regions of the stored ones."""

    images: int
    stored: int
    skipped: int
    failed: int
    regions: int
    seconds: float
    images_per_second: float
    failures: str  # path of the JSON lines that list what failed
    backend: str
    fingerprint: str  # of the detector


def extract(
    sources: Iterable[str | Path],
    store_path: str | Path,
    *,
    detector: Detector | Callable[[], Detector],
    recipe: str = "bottom-up",
    image_id_pattern: str = "file:{stem}",
    aliases: Mapping[ImageId, ImageId] | None = None,
    boxes: Mapping[str, np.ndarray] | None = None,
    only_with_boxes: bool = False,
    min_boxes: int = 10,
    max_boxes: int = 100,
    score_threshold: float = 0.2,
    nms_threshold: float = 0.3,
    dtype: str = "float16",
    shard: tuple[int, int] = (1, 1),
    workers: int = 0,
    batch_size: int = 0,
    on_error: Literal["skip", "stop"] = "skip",
    progress: Callable[[int, int], None] | None = None,
) -> ExtractionResult:
    """Region features of images into the store at `store_path`; pictures that it holds already are skipped.

    sources: image files, folders, `@list.txt`. detector: or a function that loads one, called when all else is checked.
    aliases: ids under which pictures are known better (vg: → coco:).
    boxes: (R, 4) x1 y1 x2 y2 by image id, for the recipe `given-boxes`. only_with_boxes: other pictures are left out,
    instead of failing.
    workers: processes; 0 is one a core, or this one alone on a GPU; 1 none but this one.
    batch_size: pictures of one size that go through the network together, in this process; 0 is 1, or 8 on a GPU.
    progress(done, total) is called after every picture.
    on_error: "skip" lists a picture that fails and goes on, "stop" raises its DataError.
    The same pictures give the same store, whatever the number of workers. Raises StoreError where the store holds
    features of another detector or recipe.
    """
    started = time.monotonic()
    rule = Recipe(recipe, min_boxes, max_boxes, score_threshold, nms_threshold)
    check_options(recipe, boxes, on_error, workers, batch_size)
    pictures = name_pictures(find_images(sources), image_id_pattern, aliases)
    if only_with_boxes:
        pictures = [picture for picture in pictures if picture.image_id in (boxes or {})]
    pictures = shard_of(pictures, shard)
    detector = detector() if callable(detector) else detector
    header = store_header(detector, rule, dtype)
    counts = {"stored": 0, "skipped": 0, "failed": 0, "regions": 0}
    with RegionStore.open_or_create(store_path, header) as store:
        failures = Failures(store.path, tried={str(picture.path) for picture in pictures})
        if progress is not None:
            progress(0, len(pictures))
        way = {"workers": workers, "batch_size": batch_size}
        for picture, outcome in describe_all(pictures, store, boxes, detector=detector, recipe=rule, **way):
            if outcome is None:
                counts["skipped"] += 1
            elif not outcome.error:
                store.put_encoded(str(picture.image_id), outcome.data, outcome.num_regions)
                counts["stored"] += 1
                counts["regions"] += outcome.num_regions
            elif on_error == "stop":
                raise DataError(outcome.error)
            else:
                failures.add(picture.path, picture.image_id, outcome.error)
                counts["failed"] += 1
            if progress is not None:
                progress(counts["stored"] + counts["skipped"] + counts["failed"], len(pictures))
        store.flush(complete=counts["failed"] == 0)
    seconds = time.monotonic() - started
    return ExtractionResult(
        images=len(pictures),
        **counts,
        seconds=round(seconds, 3),
        images_per_second=round((counts["stored"] + counts["failed"]) / seconds, 2),
        failures=str(failures.path),
        backend=detector.backend,
        fingerprint=detector.fingerprint,
    )


def check_options(recipe: str, boxes: object, on_error: str, workers: int, batch_size: int) -> None:
    if (recipe == "given-boxes") != (boxes is not None):
        raise ConfigError("boxes and the recipe given-boxes go together: give both or neither")
    if on_error not in ("skip", "stop"):
        raise ConfigError(f"--on-error {on_error!r}: choose skip, stop")
    if workers < 0:
        raise ConfigError(f"--workers {workers}: needs 0 (one a core) or more")
    if batch_size < 0:
        raise ConfigError(f"--batch-size {batch_size}: needs 0 (as suits the device) or more")
    if batch_size > 1 and workers > 1:
        raise ConfigError(
            f"--batch-size {batch_size} --workers {workers}: each of several processes takes one picture at a time; "
            "give one of the two"
        )


def store_header(detector: Detector, recipe: Recipe, dtype: str) -> dict[str, Any]:
    """The header of a store of this detector's features."""
    about = detector.describe()
    return make_header(
        feature_dim=detector.feature_dim,
        dtype=dtype,
        backend=detector.backend,
        fingerprint=detector.fingerprint,
        recipe=recipe.numbers(),
        precision=detector.precision,
        detector={name: about[name] for name in ("name", "config") if name in about},
        class_names=detector.class_names,
        attribute_names=detector.attribute_names,
    )


def describe_all(
    pictures: Sequence[Picture],
    store: RegionStore,
    boxes: Mapping[str, np.ndarray] | None,
    *,
    detector: Detector,
    recipe: Recipe,
    workers: int,
    batch_size: int,
) -> Iterator[tuple[Picture, Outcome | None]]:
    """Every picture with its outcome; None where the store has it. What is there already comes first."""
    jobs: list[Job] = []
    misfits: list[tuple[Picture, Outcome]] = []
    for number, picture in enumerate(pictures):
        reason = ""
        if picture.image_id is None:
            reason = f"{picture.path}: no digits in the file's name, as the --image-id pattern asks for"
        elif len(picture.image_id.encode()) > MAX_KEY_BYTES:
            reason = f"{picture.path}: its image id has more than {MAX_KEY_BYTES} bytes; choose a shorter --image-id"
        elif picture.image_id in store:
            check_stored_boxes(store, picture.image_id, boxes)
            yield picture, None
        elif boxes is not None and picture.image_id not in boxes:
            reason = f"{picture.path}: no boxes given for image {picture.image_id!r}"
        else:
            given = None if boxes is None else boxes[picture.image_id]
            jobs.append(Job(number, picture.path, picture.image_id, given))
        if reason:
            misfits.append((picture, Outcome(number, error=reason)))
    yield from misfits
    if jobs:
        store.flush(complete=False)
        setup = setup_of(detector, recipe, store.header, num_jobs=len(jobs), workers=workers, batch_size=batch_size)
        for outcome in run(jobs, setup):
            yield pictures[outcome.number], outcome


def check_stored_boxes(store: RegionStore, image_id: str, boxes: Mapping[str, np.ndarray] | None) -> None:
    """Raises StoreError where a stored picture has other boxes than are given now."""
    if boxes is None or image_id not in boxes:
        return
    if not np.array_equal(store.get(image_id).boxes, boxes[image_id].astype(np.float32)):
        raise StoreError(
            f"{store.path}: image {image_id!r} was stored with other boxes than are given now. "
            "Write to another store (--out), or delete this one first"
        )


def setup_of(
    detector: Detector, recipe: Recipe, header: dict[str, Any], *, num_jobs: int, workers: int, batch_size: int
) -> Setup:
    """How many processes describe the pictures, with how many threads, and how many pictures at once."""
    num_cores = len(os.sched_getaffinity(0))
    on_gpu = detector.device != "cpu"
    small = detector.num_parameters < SMALL_NETWORK
    alone = on_gpu or batch_size > 1 or num_jobs <= FEW_PICTURES[small]
    num_workers = workers or (1 if alone else min(num_cores, MOST_WORKERS))
    return Setup(
        detector,
        detector.fingerprint,
        recipe,
        header,
        num_workers=num_workers,
        num_threads=1 if small else max(1, num_cores // num_workers),
        batch_size=batch_size or (GPU_BATCH if on_gpu else 1),
    )


def run(jobs: Sequence[Job], setup: Setup) -> Iterator[Outcome]:
    """The outcomes of jobs in their order, from this process or from several."""
    if setup.num_workers > 1:
        from vltool.features.workers import describe_in_parallel

        yield from describe_in_parallel(jobs, setup)
    else:
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(setup.num_threads)
        try:
            yield from describe_ahead(jobs, setup)
        finally:
            torch.set_num_threads(before)
