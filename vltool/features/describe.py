"""From an image file to the record of its regions: what one process does for one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vltool.detectors.detector import Detector
from vltool.detectors.selection import Recipe, select
from vltool.errors import DataError
from vltool.features.images import UPRIGHT, ImageFile, ImagePath, load_image
from vltool.features.store import encode_for
from vltool.structures import ImageId

PHASH_SIZE = (32, 32)


@dataclass(frozen=True)
class Job:
    """A picture to describe; boxes only by the recipe `given-boxes`."""

    number: int
    path: ImagePath
    image_id: str
    boxes: np.ndarray | None = None


@dataclass(frozen=True)
class Outcome:
    """What came of a job: an encoded record and its number of regions, or the reason why there is none."""

    number: int
    data: bytes = b""
    num_regions: int = 0
    error: str = ""


@dataclass(frozen=True)
class Opened:
    """A picture that was read and decoded, and what the store will remember of its file."""

    job: Job
    file: ImageFile
    facts: dict[str, Any]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        height, width = self.file.pixels.shape[:2]
        return height, width


def open_picture(job: Job) -> Opened:
    """A job's picture, decoded and hashed. Raises DataError with the reason where it cannot be."""
    file = load_image(job.path)
    return Opened(job, file, describe_file(file))


def describe(job: Job, *, detector: Detector, recipe: Recipe, header: Mapping[str, Any]) -> Outcome:
    """The record of a picture. Raises VltoolError with the reason where it cannot be made."""
    return describe_together([open_picture(job)], detector=detector, recipe=recipe, header=header)[0]


def describe_together(
    opened: Sequence[Opened], *, detector: Detector, recipe: Recipe, header: Mapping[str, Any]
) -> list[Outcome]:
    """The records of pictures of one size, which go through the network together.

    Raises VltoolError with the reason where that of one, or of them all, cannot be made.
    """
    images = [picture.file.pixels for picture in opened]
    given = [picture.job.boxes for picture in opened if picture.job.boxes is not None]
    try:
        found = detector.detect_batch(images, given or None)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, MemoryError) or "memory" in str(error):
            height, width = opened[0].size
            raise DataError(f"{opened[0].job.path}: not enough memory for its {width} x {height} pixels") from error
        raise
    outcomes = []
    for picture, detections in zip(opened, found, strict=True):
        regions = select(recipe, detections, ImageId(picture.job.image_id))
        data = encode_for(regions, picture.facts, header)
        outcomes.append(Outcome(picture.job.number, data, regions.num_regions))
    return outcomes


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
