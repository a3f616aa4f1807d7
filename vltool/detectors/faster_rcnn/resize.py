"""A picture in the size and numbers that the network expects (detectron2's ResizeShortestEdge, on uint8 with PIL)."""

from __future__ import annotations

import numpy as np
from PIL import Image


def resized_shape(height: int, width: int, *, shortest: int, longest: int) -> tuple[int, int]:
    """(height, width) with the shorter side `shortest`, unless the longer would exceed `longest`. 0: as it is."""
    if shortest == 0:
        return height, width
    factor = shortest / min(height, width)
    new_height, new_width = (shortest, factor * width) if height < width else (factor * height, shortest)
    if max(new_height, new_width) > longest:
        factor = longest / max(new_height, new_width)
        new_height, new_width = new_height * factor, new_width * factor
    return max(1, int(new_height + 0.5)), max(1, int(new_width + 0.5))


def benchmark_shape(height: int, width: int, *, shortest: int, longest: int) -> tuple[int, int]:
    """The same by maskrcnn-benchmark, which makes the shorter side a whole number and cuts the longer one to one."""
    if max(height, width) / min(height, width) * shortest > longest:
        shortest = round(longest * min(height, width) / max(height, width))
    if width < height:
        return max(1, int(shortest * height / width)), max(1, shortest)
    return max(1, shortest), max(1, int(shortest * width / height))


def resize(image: np.ndarray, *, height: int, width: int) -> np.ndarray:
    """(H, W, 3) uint8 in another size, bilinear."""
    if (height, width) == image.shape[:2]:
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def caffe_factor(height: int, width: int, *, shortest: int, longest: int) -> float:
    """By how much py-faster-rcnn enlarges a picture, the same in both directions."""
    factor = shortest / min(height, width)
    return longest / max(height, width) if round(factor * max(height, width)) > longest else factor


def resize_floats(image: np.ndarray, factor: float) -> np.ndarray:
    """(h, w, C) float32, the image enlarged by `factor`, bilinear from the nearest pixels (OpenCV's INTER_LINEAR)."""
    for axis in (0, 1):
        length = image.shape[axis]
        new_length = round(length * factor)
        positions = np.clip((np.arange(new_length) + 0.5) / factor - 0.5, 0, length - 1)
        low = np.floor(positions).astype(np.int64)
        share = (positions - low).astype(np.float32).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        high = np.minimum(low + 1, length - 1)
        image = image.take(low, axis=axis) * (1 - share) + image.take(high, axis=axis) * share
    return image
