"""One's own pictures, described as a checkpoint's features were: same detector, same recipe, same number format."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from vltool.config import FeaturesConfig
from vltool.detectors.detector import Detector
from vltool.detectors.load import load_detector
from vltool.detectors.selection import Recipe, select
from vltool.errors import CheckpointError, DataError
from vltool.features.images import read_image
from vltool.structures import ImageId, RegionFeatures

IMPORTED = "imported"


class DescribedPictures:
    """Regions of image files, found when they are first asked for; a source of regions as a feature store is.

    pixels: (H, W, 3) uint8 of each picture, kept for figures.
    """

    def __init__(self, detector: Detector, recipe: Recipe, dtype: str) -> None:
        self.detector, self.recipe, self.dtype = detector, recipe, np.dtype(dtype)
        self.pixels: dict[ImageId, np.ndarray] = {}
        self._described: dict[ImageId, RegionFeatures] = {}

    def add(self, image: str | Path | np.ndarray) -> ImageId:
        """The id of a picture: an image file, or (H, W, 3) uint8 RGB. Raises DataError where it cannot be read."""
        if isinstance(image, np.ndarray):
            image_id, pixels = ImageId(f"array:{len(self.pixels)}"), image
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
                raise DataError(f"a picture as an array is (H, W, 3) uint8 RGB; this is {image.shape} {image.dtype}")
        elif not isinstance(image, str | os.PathLike):
            raise DataError(
                f"{type(image).__name__}: no picture. Give the path of an image file, or an array (H, W, 3) uint8 RGB"
            )
        else:
            image_id = ImageId(f"file:{Path(image)}")
            if image_id in self._described:
                return image_id
            pixels = read_image(image)
        found = select(self.recipe, self.detector.detect(pixels), image_id)
        if not found.num_regions:
            raise DataError(f"{image_id}: the detector proposes no region in this picture")
        features = found.features.astype(self.dtype)
        self._described[image_id] = RegionFeatures(**{**vars(found), "features": features})
        self.pixels[image_id] = pixels
        return image_id

    def get(self, image_id: ImageId) -> RegionFeatures:
        return self._described[image_id]

    @contextmanager
    def views(self) -> Iterator[Callable[[ImageId], RegionFeatures]]:
        yield self.get


def detector_of(
    settings: FeaturesConfig,
    store: dict[str, Any],
    *,
    where: str,
    config_file: str | Path | None = None,
    weights: str | Path | None = None,
) -> Detector:
    """The detector that made a checkpoint's features. store: what the checkpoint remembers of its feature store.

    config_file, weights: its files, where they are not at the place that the run's configuration names. Raises
    CheckpointError where the features were made by another detector, or imported and no files are given.
    """
    if store.get("backend") == IMPORTED and config_file is None and not settings.config_file:
        raise CheckpointError(
            f"{where}: was trained on imported features, and does not know their detector. Name its files with "
            "--config-file and --weights"
        )
    detector = load_detector(
        settings.backend if store.get("backend") in (None, IMPORTED) else str(store["backend"]),
        config_file=config_file or settings.config_file or None,
        weights=weights or settings.weights or None,
        precision=settings.precision,
    )
    if store.get("backend") != IMPORTED and store.get("fingerprint") not in (None, detector.fingerprint):
        raise CheckpointError(
            f"{where}: was trained on features of the detector {store['fingerprint']}, this is {detector.fingerprint} "
            f"({detector.name}). Name the right one with --config-file and --weights"
        )
    return detector


def recipe_of(settings: FeaturesConfig, store: dict[str, Any]) -> Recipe:
    """The recipe that a checkpoint's features were chosen by; the run's own where they were imported."""
    known = store.get("recipe") or {}
    names = Recipe.__dataclass_fields__
    numbers = {name: known[name] for name in names if name in known}
    if numbers.get("name") in ("bottom-up", "bottom-up-36", "detections"):
        return Recipe(**numbers)
    return Recipe(
        settings.recipe, settings.min_boxes, settings.max_boxes, settings.score_threshold, settings.nms_threshold
    )
