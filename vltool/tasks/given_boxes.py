"""Boxes that a dataset gives, beside those that a detector found, and their features.

Their features are pooled from the same picture files by the recipe `given-boxes` into a store of their own
(`features.given_store`). While a batch is built they are put behind the picture's detected regions, so that encoders
and decoders see nothing but regions. See docs/decisions/given_boxes.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from vltool.errors import DataError
from vltool.structures import ImageId, RegionFeatures

TOLERANCE_PX = 0.01
Size = tuple[int, int]


class GivenBoxes(NamedTuple):
    """Boxes x1 y1 x2 y2 in pixels of a picture of height x width; 0 x 0: of the picture whose features are stored."""

    boxes: tuple[tuple[float, float, float, float], ...]
    height: int = 0
    width: int = 0

    def scaled(self, height: int, width: int) -> np.ndarray:
        """(G, 4) float64, the same boxes in a picture of another size."""
        found = np.array(self.boxes, np.float64).reshape(-1, 4)
        if (self.height, self.width) not in ((0, 0), (height, width)):
            found *= np.array([width / self.width, height / self.height] * 2)
        return found

    def within(self, height: int, width: int) -> np.ndarray:
        """(G, 4) float32, where features are pooled: inside the picture, and a pixel wide and high at least."""
        found = self.scaled(height, width)
        limits = np.array([width, height], np.float64)
        low = np.clip(found[:, :2], 0, limits - 1)
        high = np.clip(found[:, 2:], low + 1, limits)
        return np.concatenate([low, high], axis=1).astype(np.float32)


def boxes_to_pool(
    wanted: Iterable[tuple[str, ImageId, GivenBoxes]], size_of: Callable[[ImageId], Size | None]
) -> dict[str, np.ndarray]:
    """(G, 4) of every picture: all boxes that any task wants of it, each once, by their numbers.

    size_of: height and width of a picture as its features were extracted; None where it has none, and then it is left
    out.
    """
    found: dict[ImageId, set[GivenBoxes]] = {}
    for _, image_id, given in wanted:
        found.setdefault(image_id, set()).add(given)
    pooled = {}
    for image_id, sets in found.items():
        size = size_of(image_id)
        if size is not None:
            boxes = np.concatenate([given.within(*size) for given in sets])
            pooled[str(image_id)] = np.unique(boxes, axis=0)
    return pooled


def with_given(detected: RegionFeatures, pooled: RegionFeatures, given: GivenBoxes) -> RegionFeatures:
    """The detected regions of a picture, and behind them those of the given boxes in their order.

    Raises DataError where a box was not pooled, or from a file of another size.
    """
    if (pooled.height, pooled.width) != (detected.height, detected.width):
        raise DataError(
            f"image {detected.image_id!r}: its given boxes were pooled in a picture of {pooled.width} x "
            f"{pooled.height}, its regions detected in one of {detected.width} x {detected.height}. Extract both from "
            "the same file"
        )
    boxes = given.within(detected.height, detected.width)
    rows = _rows_of(boxes, pooled, detected.image_id)
    return RegionFeatures(
        detected.image_id,
        np.concatenate([detected.features, pooled.features[rows].astype(detected.features.dtype)]),
        np.concatenate([detected.boxes, boxes]),
        height=detected.height,
        width=detected.width,
        **{
            name: _joined(detected, pooled, rows, name)
            for name in ("classes", "scores", "attributes", "attribute_scores")
        },
    )


def _rows_of(boxes: np.ndarray, pooled: RegionFeatures, image_id: ImageId) -> np.ndarray:
    if not pooled.num_regions:
        distance = np.full((len(boxes), 1), np.inf)
    else:
        distance = np.abs(boxes[:, None] - np.asarray(pooled.boxes)[None]).max(axis=-1)  # (G, pooled)
    missing = np.flatnonzero(distance.min(axis=1) > TOLERANCE_PX)
    if len(missing):
        raise DataError(
            f"image {image_id!r}: {len(missing)} of its {len(boxes)} given boxes have no features, first "
            f"{boxes[missing[0]].tolist()}. The boxes that tasks want have changed: delete features.given_store, and "
            "extract them again"
        )
    return distance.argmin(axis=1)


def _joined(detected: RegionFeatures, pooled: RegionFeatures, rows: np.ndarray, name: str) -> np.ndarray | None:
    own: Any = getattr(detected, name)
    other: Any = getattr(pooled, name)
    return None if own is None or other is None else np.concatenate([own, other[rows]])
