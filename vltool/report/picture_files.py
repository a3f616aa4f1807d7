"""Finds and reads the pictures that the features of a run were extracted from."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np

from vltool.config import RunConfig
from vltool.errors import DataError
from vltool.features.images import read_image
from vltool.features.sources import find_local_images, image_id_of
from vltool.structures import ImageId


def find_pictures(config: RunConfig, wanted: Collection[ImageId]) -> dict[ImageId, Path]:
    """Id → file of the wanted pictures, of those that `features.extract` names and that are still there."""
    found: dict[ImageId, Path] = {}
    for source in config.features.extract:
        for images in source.images:
            try:
                paths = find_local_images([images])
            except DataError:  # moved away since: the figures show outlines
                continue
            for path in paths:
                image_id = ImageId(image_id_of(path, source.image_id) or "")
                if image_id in wanted:
                    found.setdefault(image_id, path)
    return found


def load_pixels(path: Path | None) -> np.ndarray | None:
    """(H, W, 3) uint8, the right way up; None if there is no such file, or it is no picture any more."""
    if path is None:
        return None
    try:
        return read_image(path)
    except DataError:
        return None
