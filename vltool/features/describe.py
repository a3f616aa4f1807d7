"""From an image file to the record of its regions: what one process does for one picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vltool.detectors.detector import Detector
from vltool.detectors.selection import Recipe, select
from vltool.errors import DataError
from vltool.features.images import UPRIGHT, ImageFile, load_image
from vltool.features.store import encode_for
from vltool.structures import ImageId

PHASH_SIZE = (32, 32)


@dataclass(frozen=True)
class Job:
    """A picture to describe; boxes only by the recipe `given-boxes`."""

    number: int
    path: Path
    image_id: str
    boxes: np.ndarray | None = None


@dataclass(frozen=True)
class Outcome:
    """What came of a job: an encoded record and its number of regions, or the reason why there is none."""

    number: int
    data: bytes = b""
    num_regions: int = 0
    error: str = ""


def describe(job: Job, *, detector: Detector, recipe: Recipe, header: Mapping[str, Any]) -> Outcome:
    """The record of a picture. Raises VltoolError with the reason where it cannot be made."""
    file = load_image(job.path)
    try:
        if job.boxes is None:
            detections = detector.detect(file.pixels)
        else:
            detections = detector.detect_at(file.pixels, job.boxes)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, MemoryError) or "memory" in str(error):
            height, width = file.pixels.shape[:2]
            raise DataError(f"{job.path}: not enough memory for its {width} x {height} pixels") from error
        raise
    regions = select(recipe, detections, ImageId(job.image_id))
    return Outcome(job.number, encode_for(regions, describe_file(file), header), regions.num_regions)


def describe_file(file: ImageFile) -> dict[str, Any]:
    """What a store remembers of an image file: enough to find it again, and its near-duplicates.

    phash: perceptual hash of the upright picture. phash_turned: of its seven mirrored and turned forms, as it would
    look had its orientation tag been lost or changed.
    """
    import imagehash
    from PIL import Image

    small = Image.fromarray(file.pixels).convert("L").resize(PHASH_SIZE, Image.Resampling.LANCZOS)  # as imagehash does
    return {
        "name": file.name,
        "bytes": file.num_bytes,
        "orientation": file.orientation,
        "sha256": file.sha256,
        "phash": str(imagehash.phash(small)),
        "phash_turned": [str(imagehash.phash(small.transpose(turn))) for turn in UPRIGHT.values()],
    }
