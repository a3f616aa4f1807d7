"""ResNet and ResNeXt of 50, 101 and 152 layers, with detectron2's parameter names.

He et al. 2015, "Deep Residual Learning for Image Recognition", table 1; Xie et al. 2016 for groups; He et al. 2016,
"Identity Mappings in Deep Residual Networks", for blocks that normalize first.
Names: `stem.conv1`, `res2.0.shortcut`, `res2.0.conv1`, `.conv2`, `.conv3`, ...; of the latter also `stem.norm`,
`res2.0.norm` and, before what follows res4, `norm`.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from vltool.detectors.faster_rcnn.config import STAGES, DetectorConfig
from vltool.detectors.faster_rcnn.convolution import Convolution, FixedNorm

BLOCKS_PER_STAGE = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


class Stem(nn.Module):
    """The picture at a quarter of its size: a 7x7 convolution and a pooling, both of stride 2."""

    def __init__(
        self, out_channels: int, *, norm: str, caffe_max_pool: bool = False, normalize_first: bool = False
    ) -> None:
        super().__init__()
        self.caffe_max_pool = caffe_max_pool
        self.norm = FixedNorm(3) if normalize_first else None  # before the convolution's padding, so not foldable
        self.conv1 = Convolution(3, out_channels, 7, stride=2, norm=norm, relu=True)

    def forward(self, pixels: Tensor) -> Tensor:
        if self.norm is not None:
            pixels = self.norm(pixels)
        if self.caffe_max_pool:
            return F.max_pool2d(self.conv1(pixels), kernel_size=3, stride=2, padding=0, ceil_mode=True)
        return F.max_pool2d(self.conv1(pixels), kernel_size=3, stride=2, padding=1)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions around a shortcut. The stride sits in the first 1x1 (MSRA, caffe) or the 3x3.

    A block of as many channels out as in writes its result over its input. normalizes_sum: whether what is added up is
    normalized before.
    """

    normalizes_sum = True
    shortcut: Convolution | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        bottleneck_channels: int,
        stride: int,
        dilation: int,
        groups: int,
        stride_in_1x1: bool,
        norm: str,
    ) -> None:
        super().__init__()
        outer: dict[str, Any] = {"norm": norm} if self.normalizes_sum else {"bias": False}
        self.shortcut = None
        if in_channels != out_channels:
            self.shortcut = Convolution(in_channels, out_channels, 1, stride=stride, **outer)
        stride_1x1, stride_3x3 = (stride, 1) if stride_in_1x1 else (1, stride)
        width = bottleneck_channels
        self.conv1 = Convolution(in_channels, width, 1, stride=stride_1x1, norm=norm, relu=True)
        self.conv2 = Convolution(
            width, width, 3, stride=stride_3x3, dilation=dilation, groups=groups, norm=norm, relu=True
        )
        self.conv3 = Convolution(width, out_channels, 1, **outer)

    def forward(self, features: Tensor) -> Tensor:
        inner = self.conv2(self.conv1(features))
        shortcut = features if self.shortcut is None else self.shortcut(features)
        return self.conv3.added_to(shortcut, inner)


class NormalizeFirstBottleneck(Bottleneck):
    """A bottleneck whose input is normalized and rectified first, and whose sum with the shortcut is left as it is.

    is_normalized: the input comes normalized and rectified (res5 as a head). Of the convolutions the first two are
    normalized and rectified on the way out: the same as the next one's input.
    """

    normalizes_sum = False
    norm: FixedNorm | None

    def __init__(self, in_channels: int, out_channels: int, *, is_normalized: bool = False, **options: Any) -> None:
        super().__init__(in_channels, out_channels, **options)
        self.norm = None if is_normalized else FixedNorm(in_channels)

    def forward(self, features: Tensor) -> Tensor:
        normalized = features if self.norm is None else F.relu_(self.norm(features))
        shortcut = features if self.shortcut is None else self.shortcut(normalized)
        return self.conv3(self.conv2(self.conv1(normalized))) + shortcut


def build_stage(
    config: DetectorConfig,
    name: str,
    *,
    stride: int,
    dilation: int = 1,
    num_blocks: int,
    is_normalized: bool = False,
) -> nn.Sequential:
    """One of res2 to res5; widths double from stage to stage.

    is_normalized: of blocks that normalize first, the first one gets its input normalized.
    """
    factor = 2 ** STAGES.index(name)
    out_channels = stage_channels(config, name)
    in_channels = config["MODEL.RESNETS.STEM_OUT_CHANNELS"] if name == "res2" else out_channels // 2
    normalizes_first = config["CAFFE.NORMALIZE_FIRST"]
    kind = NormalizeFirstBottleneck if normalizes_first else Bottleneck
    blocks = []
    for index in range(num_blocks):
        block = kind(
            in_channels,
            out_channels,
            bottleneck_channels=config["MODEL.RESNETS.NUM_GROUPS"] * config["MODEL.RESNETS.WIDTH_PER_GROUP"] * factor,
            stride=stride if index == 0 else 1,
            dilation=dilation,
            groups=config["MODEL.RESNETS.NUM_GROUPS"],
            stride_in_1x1=config["MODEL.RESNETS.STRIDE_IN_1X1"],
            norm=config["MODEL.RESNETS.NORM"],
            **({"is_normalized": is_normalized and index == 0} if normalizes_first else {}),
        )
        blocks.append(block)
        in_channels = out_channels
    return nn.Sequential(*blocks)


def stage_channels(config: DetectorConfig, name: str) -> int:
    return int(config["MODEL.RESNETS.RES2_OUT_CHANNELS"]) * 2 ** STAGES.index(name)


class ResNet(nn.Module):
    """Feature maps of a picture by stage name, up to the last one asked for."""

    def __init__(self, config: DetectorConfig, out_features: tuple[str, ...]) -> None:
        super().__init__()
        self.out_features = out_features
        self.stem = Stem(
            config["MODEL.RESNETS.STEM_OUT_CHANNELS"],
            norm=config["MODEL.RESNETS.NORM"],
            caffe_max_pool=config["CAFFE.MAX_POOL"],
            normalize_first=config["CAFFE.NORMALIZE_FIRST"],
        )
        self.names = STAGES[: max(STAGES.index(name) for name in out_features) + 1]
        self.strides: dict[str, int] = {}
        for name, num_blocks in zip(self.names, BLOCKS_PER_STAGE[config["MODEL.RESNETS.DEPTH"]], strict=False):
            dilation = config["MODEL.RESNETS.RES5_DILATION"] if name == "res5" else 1
            stride = 1 if name == "res2" or dilation == 2 else 2  # a dilated res5 keeps the resolution of res4
            self.strides[name] = 4 if name == "res2" else self.strides[self.names[self.names.index(name) - 1]] * stride
            self.add_module(name, build_stage(config, name, stride=stride, dilation=dilation, num_blocks=num_blocks))
        self.channels = {name: stage_channels(config, name) for name in self.names}
        self.size_divisibility = 0
        last = self.names[-1]
        # The first block of res5 would normalize what it gets; the proposal network is given the same.
        self.norm = FixedNorm(self.channels[last]) if config["CAFFE.NORMALIZE_FIRST"] else None

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        features = self.stem(pixels)
        maps: dict[str, Tensor] = {}
        for name in self.names:
            features = self.get_submodule(name)(features)
            if name in self.out_features:
                maps[name] = features if self.norm is None else F.relu_(self.norm(features))
        return maps
