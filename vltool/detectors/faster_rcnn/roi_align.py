"""ROIAlign as a weighted sum of the pixels that each cell reads: any subset of the cells, without the others' cost.

He et al. 2017, "Mask R-CNN", section 3: a cell is the mean of bilinear samples on a regular grid. Sampling is
separable, so a cell's weight of pixel (y, x) is a product of a weight of row y and one of column x. Positions are
computed in float32 step by step as torchvision's `roi_align` computes them, so that no sample is rounded elsewhere.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def roi_align_cells(
    features: Tensor, boxes: Tensor, *, size: int, spatial_scale: float, sampling_ratio: int, aligned: bool, step: int
) -> Tensor:
    """(P, C, S, S), of the size x size cells of boxes (P, 4) every `step`-th in both directions.

    features: (1, C, H, W). sampling_ratio: samples a cell and direction; 0: one per pixel that the cell covers.
    aligned: pixel centres lie at half numbers. The result lies in memory with its channels last.
    """
    _, channels, height, width = features.shape
    corners = boxes.float() * spatial_scale - (0.5 if aligned else 0.0)
    parts: dict[str, Any] = {
        "size": size,
        "sampling_ratio": sampling_ratio,
        "step": step,
        "smallest": 0.0 if aligned else 1.0,
    }
    rows, row_weights = axis_taps(corners[:, 1], corners[:, 3], length=height, **parts)
    columns, column_weights = axis_taps(corners[:, 0], corners[:, 2], length=width, **parts)
    num_cells = rows.shape[1]
    pixels = rows[:, :, None, :, None] * width + columns[:, None, :, None, :]  # (P, S, S, row taps, column taps)
    weights = row_weights[:, :, None, :, None] * column_weights[:, None, :, None, :]
    is_read = weights != 0
    counts = is_read.sum(dim=(3, 4)).reshape(-1)
    flat = features[0].permute(1, 2, 0).reshape(height * width, channels)
    cells = F.embedding_bag(
        pixels[is_read],
        flat,
        counts.cumsum(0) - counts,
        mode="sum",
        per_sample_weights=weights[is_read].to(flat.dtype),
    )
    return cells.view(len(boxes), num_cells, num_cells, channels).permute(0, 3, 1, 2)


def axis_taps(
    start: Tensor, end: Tensor, *, length: int, size: int, sampling_ratio: int, step: int, smallest: float
) -> tuple[Tensor, Tensor]:
    """(P, S, T) the pixels that every `step`-th of `size` cells between start and end (P,) reads, and their weights.

    T is what the widest cell needs; the others are filled up with weight 0.
    """
    extents = (end - start).clamp(min=smallest) if smallest else end - start
    cell = extents / size
    if sampling_ratio > 0:
        num_samples = torch.full_like(extents, sampling_ratio)
    else:
        num_samples = torch.ceil(extents / size).clamp(min=0)  # an empty box has none
    most = max(1, int(num_samples.max())) if len(num_samples) else 1
    divisors = num_samples.clamp(min=1)[:, None, None]
    index = torch.arange(most, device=start.device)
    numbers = torch.arange(0, size, step, device=start.device)
    first = start[:, None, None] + numbers[None, :, None] * cell[:, None, None]
    positions = first + (index + 0.5) * cell[:, None, None] / divisors  # (P, S, samples)
    inside = (index < num_samples[:, None, None]) & (positions >= -1.0) & (positions <= length)
    positions = positions.clamp(min=0)
    low = positions.floor().clamp(max=length - 1)
    share = torch.where(low >= length - 1, torch.zeros_like(positions), positions - low)
    weight = inside / divisors
    low = low.long()
    dense = start.new_zeros(len(start), len(numbers), length + 1)
    dense.scatter_add_(2, low, (1 - share) * weight)
    dense.scatter_add_(2, low + 1, share * weight)
    # What a cell reads is one run of pixels, from its first sample on.
    begin = low.amin(dim=2, keepdim=True)
    reach = int((low.amax(dim=2, keepdim=True) - begin).max()) + 2 if len(start) else 2
    taps = (begin + torch.arange(reach, device=start.device)).clamp(max=length)
    weights = dense.gather(2, taps)
    repeated = torch.zeros_like(taps, dtype=torch.bool)
    repeated[:, :, 1:] = taps[:, :, 1:] == taps[:, :, :-1]
    weights = weights.masked_fill(repeated, 0.0)
    return taps.clamp(max=length - 1), weights
