"""Arithmetic of boxes as the network codes them: x1 y1 x2 y2 in float32.

`pixel` is what belongs to a box's right and lower edge: 0 in detectron2, and 1 in caffe and maskrcnn-benchmark, where a
box from 3 to 5 holds 3 pixels.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

LARGEST_LOG_SCALE = math.log(1000.0 / 16)  # Detectron: keeps exp() of an untrained delta finite


def apply_deltas(
    deltas: Tensor,
    boxes: Tensor,
    weights: tuple[float, float, float, float],
    *,
    pixel: float = 0.0,
    inclusive: bool = False,
) -> Tensor:
    """Boxes moved and scaled as predicted: (N, 4 K) deltas dx dy dw dh of (N, 4) boxes give (N, K, 4).

    inclusive: the corrected box ends with its last pixel (maskrcnn-benchmark), not one beyond it (caffe).
    """
    deltas = deltas.float().reshape(len(boxes), deltas.shape[1] // 4, 4)
    sizes = (boxes[:, 2:] - boxes[:, :2] + pixel).float()[:, None, :]  # (N, 1, 2)
    centres = boxes[:, None, :2] + 0.5 * sizes
    divisors = deltas.new_tensor(weights)
    shifts = deltas[..., :2] / divisors[:2]
    log_scales = (deltas[..., 2:] / divisors[2:]).clamp(max=LARGEST_LOG_SCALE)
    centres = shifts * sizes + centres
    half = 0.5 * (torch.exp(log_scales) * sizes)
    return torch.cat((centres - half, centres + half - (pixel if inclusive else 0.0)), dim=-1)


def clip(boxes: Tensor, *, height: float, width: float) -> Tensor:
    """(..., 4) boxes cut to the picture."""
    x = boxes[..., 0::2].clamp(0, width)
    y = boxes[..., 1::2].clamp(0, height)
    return torch.stack((x[..., 0], y[..., 0], x[..., 1], y[..., 1]), dim=-1)


def is_larger(boxes: Tensor, minimum: float = 0.0) -> Tensor:
    """(N,) bool: both sides exceed `minimum`."""
    return ((boxes[:, 2] - boxes[:, 0]) > minimum) & ((boxes[:, 3] - boxes[:, 1]) > minimum)


def scale(boxes: Tensor, factor_x: float, factor_y: float) -> Tensor:
    """(..., 4) boxes in another frame."""
    return boxes * boxes.new_tensor((factor_x, factor_y, factor_x, factor_y))
