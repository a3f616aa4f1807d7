"""Steps of a detector as the papers write them, in float64, for tests that hold a runner to them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def anchors() -> np.ndarray:
    """Sizes 16, 32 and 48 in ratios 0.5, 1 and 2 around (7.5, 7.5), ratios outer, worked out by hand for size 16."""
    rows = []
    for width, height in ((23, 12), (16, 16), (11, 22)):
        for scale in (1, 2, 3):
            w, h = (width * scale - 1) / 2, (height * scale - 1) / 2
            rows.append([7.5 - w, 7.5 - h, 7.5 + w, 7.5 + h])
    return np.array(rows)


def suppress(boxes: np.ndarray, order: list[int], threshold: float, pixel: float) -> list[int]:
    kept: list[int] = []
    for index in order:
        if all(overlap(boxes[index], boxes[other], pixel) <= threshold for other in kept):
            kept.append(index)
    return kept


def overlap(a: np.ndarray, b: np.ndarray, pixel: float) -> float:
    common = np.prod(np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]) + pixel, 0, None))
    return common / (np.prod(a[2:] - a[:2] + pixel) + np.prod(b[2:] - b[:2] + pixel) - common)


def roi_pool(x: Tensor, box: np.ndarray) -> Tensor:
    """ROIPool: the largest number in each of 14 x 14 bins, 0 in an empty one."""
    x1, y1, x2, y2 = (int(np.floor(value / 16 + 0.5)) for value in box)
    height, width = max(y2 - y1 + 1, 1), max(x2 - x1 + 1, 1)
    cells = torch.zeros(x.shape[1], 14, 14, dtype=torch.float64)
    for i in range(14):
        for j in range(14):
            top, bottom = (min(max(v + y1, 0), x.shape[2]) for v in (i * height // 14, -(-(i + 1) * height // 14)))
            left, right = (min(max(v + x1, 0), x.shape[3]) for v in (j * width // 14, -(-(j + 1) * width // 14)))
            if bottom > top and right > left:
                cells[:, i, j] = x[0, :, top:bottom, left:right].amax(dim=(1, 2))
    return cells
