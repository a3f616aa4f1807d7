"""The features of a box, cut out of one feature map or of the pyramid level that fits the box's size."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torchvision.ops import roi_pool

from vltool.detectors.faster_rcnn.config import DetectorConfig
from vltool.detectors.faster_rcnn.roi_align import roi_align_cells
from vltool.errors import ConfigError

CANONICAL_SIZE, CANONICAL_LEVEL = 224, 4  # FPN, section 4.2: a box of 224 pixels is pooled from p4


class BoxPooler(nn.Module):
    """(P, C, S, S) features of P boxes, S = size / step; holds no parameters."""

    def __init__(self, config: DetectorConfig, strides: dict[str, int], *, step: int = 1) -> None:
        """step: give every `step`-th cell alone, in both directions."""
        super().__init__()
        self.step = step
        self.in_features: list[str] = config["MODEL.ROI_HEADS.IN_FEATURES"]
        for name in self.in_features:
            if name not in strides:
                raise ConfigError(
                    f"{config.source}: MODEL.ROI_HEADS.IN_FEATURES names {name!r}; "
                    f"the backbone has {', '.join(strides)}"
                )
        self.strides = [strides[name] for name in self.in_features]
        self.levels = [int(math.log2(stride)) for stride in self.strides]
        if self.levels != list(range(self.levels[0], self.levels[0] + len(self.levels))):
            raise ConfigError(
                f"{config.source}: MODEL.ROI_HEADS.IN_FEATURES = {self.in_features!r} is not a pyramid: "
                f"its strides are {self.strides}"
            )
        self.size: int = config["MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION"]
        self.sampling_ratio: int = config["MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO"]
        self.method: str = config["MODEL.ROI_BOX_HEAD.POOLER_TYPE"]

    def forward(self, maps: dict[str, Tensor], boxes: Tensor) -> Tensor:
        """boxes: (P, 4) in pixels of the resized picture."""
        features = [maps[name] for name in self.in_features]
        if len(features) == 1:
            return self.pool(features[0], boxes, self.strides[0])
        num_cells = len(range(0, self.size, self.step))
        pooled = features[0].new_zeros(len(boxes), features[0].shape[1], num_cells, num_cells)
        levels = self.assign_levels(boxes)
        for level, level_features, stride in zip(self.levels, features, self.strides, strict=True):
            rows = (levels == level).nonzero()[:, 0]
            pooled[rows] = self.pool(level_features, boxes[rows], stride)
        return pooled

    def assign_levels(self, boxes: Tensor) -> Tensor:
        """(P,) the level whose stride fits each box, in FPN's equation 1."""
        sizes = torch.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))
        levels = torch.floor(CANONICAL_LEVEL + torch.log2(sizes / CANONICAL_SIZE + 1e-8))
        return levels.clamp(self.levels[0], self.levels[-1]).long()

    def pool(self, features: Tensor, boxes: Tensor, stride: int) -> Tensor:
        if self.method == "ROIPool":
            pooled = roi_pool(features.float(), [boxes], (self.size, self.size), spatial_scale=1.0 / stride)
            return pooled[:, :, :: self.step, :: self.step].to(features.dtype)  # the largest number rounds to itself
        return roi_align_cells(
            features,
            boxes,
            size=self.size,
            spatial_scale=1.0 / stride,
            sampling_ratio=self.sampling_ratio,
            aligned=self.method == "ROIAlignV2",  # V2 takes pixel centres into account, half a pixel apart from V1
            step=self.step,
        )
