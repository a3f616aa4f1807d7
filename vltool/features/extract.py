"""Images to region features: every picture through a detector and a recipe into a store, going on where it stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vltool.detectors.detector import Detector
from vltool.detectors.selection import Recipe
from vltool.engines.engine import Engine
from vltool.errors import ConfigError, DataError
from vltool.features.failures import FAILURES, Failures
from vltool.features.fill import Way, fill
from vltool.features.header import make_header
from vltool.features.images import ImagePath
from vltool.features.remote_store import local_place
from vltool.features.shards import clear_shards, fill_by
from vltool.features.sources import find_images, name_pictures, parse_shard, shard_of
from vltool.features.store import RegionStore
from vltool.remote_files import is_url, with_slashes
from vltool.structures import ImageId

__all__ = ["ExtractionResult", "extract", "parse_shard"]


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
    sources: Iterable[str | ImagePath],
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
    engine: Engine | None = None,
) -> ExtractionResult:
    """Region features of images into the store at `store_path`; pictures that it holds already are skipped.

    sources: image files, folders, `@list.txt`, URLs. store_path: a folder, or a URL where the store is put when all is
    done. detector: or a function that loads one, called when all else is checked.
    aliases: ids under which pictures are known better (vg: → coco:).
    boxes: (R, 4) x1 y1 x2 y2 by image id, for the recipe `given-boxes`. only_with_boxes: other pictures are left out,
    instead of failing.
    workers: processes; 0 is one a core, or this one alone on a GPU; 1 none but this one.
    batch_size: pictures of one size that go through the network together, in this process; 0 is 1, or 8 on a GPU.
    engine: that describes shards of the pictures instead, `workers` of them at once, a process each.
    progress(done, total) is called after every picture.
    on_error: "skip" lists a picture that fails and goes on, "stop" raises its DataError.
    The same pictures give the same store, whatever the number of workers. Raises StoreError where the store holds
    features of another detector or recipe.
    """
    started = time.monotonic()
    rule = Recipe(recipe, min_boxes, max_boxes, score_threshold, nms_threshold)
    check_options(recipe, boxes, on_error, workers, batch_size, engine=engine)
    fill_store = fill_by(engine, place=str(store_path), stop_on_error=on_error == "stop") if engine else fill
    pictures = name_pictures(find_images(sources), image_id_pattern, aliases)
    if only_with_boxes:
        pictures = [picture for picture in pictures if picture.image_id in (boxes or {})]
    pictures = shard_of(pictures, shard)
    detector = detector() if callable(detector) else detector
    header = store_header(detector, rule, dtype)
    counts = {"stored": 0, "skipped": 0, "failed": 0, "regions": 0}
    with local_place(store_path) as folder, RegionStore.open_or_create(folder, header) as store:
        failures = Failures(store.path, tried={str(picture.path) for picture in pictures})
        if progress is not None:
            progress(0, len(pictures))
        for found in fill_store(pictures, store, boxes, Way(detector, rule, workers, batch_size)):
            if found.error and on_error == "stop":
                raise DataError(found.error)
            if found.error:
                failures.add(found.picture.path, found.picture.image_id, found.error)
            counts["failed" if found.error else "skipped" if found.num_regions is None else "stored"] += 1
            counts["regions"] += found.num_regions or 0
            if progress is not None:
                progress(counts["stored"] + counts["skipped"] + counts["failed"], len(pictures))
        store.flush(complete=counts["failed"] == 0)
    if engine is not None:
        clear_shards(str(store_path))
    seconds = time.monotonic() - started
    return ExtractionResult(
        images=len(pictures),
        **counts,
        seconds=round(seconds, 3),
        images_per_second=round((counts["stored"] + counts["failed"]) / seconds, 2),
        failures=f"{with_slashes(store_path)}{FAILURES}" if is_url(store_path) else str(failures.path),
        backend=detector.backend,
        fingerprint=detector.fingerprint,
    )


def check_options(
    recipe: str, boxes: object, on_error: str, workers: int, batch_size: int, *, engine: object = None
) -> None:
    if (recipe == "given-boxes") != (boxes is not None):
        raise ConfigError("boxes and the recipe given-boxes go together: give both or neither")
    if on_error not in ("skip", "stop"):
        raise ConfigError(f"--on-error {on_error!r}: choose skip, stop")
    if workers < 0:
        raise ConfigError(f"--workers {workers}: needs 0 (one a core) or more")
    if batch_size < 0:
        raise ConfigError(f"--batch-size {batch_size}: needs 0 (as suits the device) or more")
    if batch_size > 1 and workers > 1 and not engine:
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
