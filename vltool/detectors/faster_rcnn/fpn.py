"""A feature pyramid over a ResNet, with detectron2's parameter names.

Lin et al. 2016, "Feature Pyramid Networks for Object Detection": `bottom_up.*`, `fpn_lateral2..5`, `fpn_output2..5`;
p6 is every second pixel of p5 and has no parameters.
"""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional as F

from vltool.detectors.faster_rcnn.config import DetectorConfig
from vltool.detectors.faster_rcnn.convolution import Convolution
from vltool.detectors.faster_rcnn.resnet import ResNet


class FeaturePyramid(nn.Module):
    """Feature maps p2 to p6 of a picture, all of the same width."""

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        self.in_features: tuple[str, ...] = tuple(config["MODEL.FPN.IN_FEATURES"])
        self.bottom_up = ResNet(config, self.in_features)
        self.averages = config["MODEL.FPN.FUSE_TYPE"] == "avg"
        width, norm = config["MODEL.FPN.OUT_CHANNELS"], config["MODEL.FPN.NORM"]
        self.levels = [int(math.log2(self.bottom_up.strides[name])) for name in self.in_features]
        for name, level in zip(self.in_features, self.levels, strict=True):
            self.add_module(f"fpn_lateral{level}", Convolution(self.bottom_up.channels[name], width, 1, norm=norm))
            self.add_module(f"fpn_output{level}", Convolution(width, width, 3, norm=norm))
        names = [f"p{level}" for level in (*self.levels, self.levels[-1] + 1)]
        self.strides = {name: 2 ** int(name[1:]) for name in names}
        self.channels = dict.fromkeys(names, width)
        self.size_divisibility = 2 ** self.levels[-1]  # so that every level is exactly half of the one below

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        bottom_up = self.bottom_up(pixels)
        maps: dict[str, Tensor] = {}
        above: Tensor | None = None
        for name, level in zip(reversed(self.in_features), reversed(self.levels), strict=True):
            features = self.get_submodule(f"fpn_lateral{level}")(bottom_up[name])
            if above is not None:
                features = features + F.interpolate(above, scale_factor=2.0, mode="nearest")
                if self.averages:
                    features = features / 2
            maps[f"p{level}"] = self.get_submodule(f"fpn_output{level}")(features)
            above = features
        top = self.levels[-1]
        maps[f"p{top + 1}"] = F.max_pool2d(maps[f"p{top}"], kernel_size=1, stride=2)
        return maps
