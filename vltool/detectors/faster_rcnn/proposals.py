"""The region proposal network: anchors, their scores and corrections, and which of them become proposals.

Ren et al. 2015, "Faster R-CNN"; the order of the steps is detectron2's (`modeling/proposal_generator/`, commit
02b5c4e): best anchors per level, all levels together, finite ones, clip, minimum size, NMS within each level, best.
Parameters: `rpn_head.conv` (or `rpn_head.conv.conv0`, `.conv1`, ...), `.objectness_logits`, `.anchor_deltas`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torchvision.ops import batched_nms, nms

from vltool.detectors.faster_rcnn.boxes import apply_deltas, clip, is_larger
from vltool.detectors.faster_rcnn.config import DetectorConfig
from vltool.detectors.faster_rcnn.convolution import Convolution
from vltool.errors import ConfigError


def base_anchors(sizes: list[float], aspect_ratios: list[float]) -> Tensor:
    """(A, 4) boxes around the origin, sizes outer and ratios (height / width) inner."""
    anchors = []
    for size in sizes:
        for ratio in aspect_ratios:
            width = math.sqrt(size**2 / ratio)
            height = ratio * width
            anchors.append([-width / 2, -height / 2, width / 2, height / 2])
    return torch.tensor(anchors)


def caffe_anchors(sizes: list[float], aspect_ratios: list[float], *, stride: int) -> Tensor:
    """(A, 4) anchors of py-faster-rcnn's `generate_anchors`, in whole pixels, ratios outer and sizes inner.

    A square of stride x stride pixels, its width and height rounded at every ratio, then scaled around its centre.
    """
    centre = (stride - 1) / 2
    anchors = []
    for ratio in aspect_ratios:
        width = round(math.sqrt(stride**2 / ratio))
        height = round(width * ratio)
        for size in sizes:
            reach_x, reach_y = (width * size / stride - 1) / 2, (height * size / stride - 1) / 2
            anchors.append([centre - reach_x, centre - reach_y, centre + reach_x, centre + reach_y])
    return torch.tensor(anchors)


def grid_anchors(base: Tensor, *, height: int, width: int, stride: int, offset: float) -> Tensor:
    """(height * width * A, 4) anchors of a feature map, row by row, `offset` a share of the stride."""
    x = torch.arange(offset * stride, width * stride, step=stride, dtype=torch.float32, device=base.device)
    y = torch.arange(offset * stride, height * stride, step=stride, dtype=torch.float32, device=base.device)
    grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
    shifts = torch.stack((grid_x, grid_y, grid_x, grid_y), dim=-1).reshape(-1, 1, 4)
    return (shifts + base).reshape(-1, 4)


class ProposalHead(nn.Module):
    """Scores (A per pixel) and corrections (4 A per pixel) of the anchors; one head for all levels."""

    def __init__(self, in_channels: int, *, num_anchors: int, widths: list[int]) -> None:
        super().__init__()
        widths = [in_channels if width == -1 else width for width in widths]
        convolutions = [
            Convolution(before, after, 3, relu=True)
            for before, after in zip([in_channels, *widths], widths, strict=False)
        ]
        self.conv: nn.Module
        if len(convolutions) == 1:
            self.conv = convolutions[0]
        else:
            self.conv = nn.ModuleDict({f"conv{index}": layer for index, layer in enumerate(convolutions)})
        self.objectness_logits = nn.Conv2d(widths[-1], num_anchors, kernel_size=1)
        self.anchor_deltas = nn.Conv2d(widths[-1], num_anchors * 4, kernel_size=1)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(1, C, H, W) to logits (H W A,) and deltas (H W A, 4), in the order of `grid_anchors`."""
        layers = self.conv.values() if isinstance(self.conv, nn.ModuleDict) else [self.conv]
        for layer in layers:
            features = layer(features)
        features = features.float()
        logits = self.objectness_logits(features)[0].permute(1, 2, 0).reshape(-1)
        deltas = self.anchor_deltas(features)[0].permute(1, 2, 0).reshape(-1, 4)
        return logits, deltas


class ProposalNetwork(nn.Module):
    """The regions of a picture that may hold something, best first."""

    def __init__(self, config: DetectorConfig, *, strides: dict[str, int], channels: dict[str, int]) -> None:
        super().__init__()
        self.in_features: list[str] = config["MODEL.RPN.IN_FEATURES"]
        for name in self.in_features:
            if name not in strides:
                raise ConfigError(
                    f"{config.source}: MODEL.RPN.IN_FEATURES names {name!r}; the backbone has {', '.join(strides)}"
                )
        self.strides = [strides[name] for name in self.in_features]
        self.offset: float = config["MODEL.ANCHOR_GENERATOR.OFFSET"]
        self.weights = tuple(config["MODEL.RPN.BBOX_REG_WEIGHTS"])
        self.num_before_nms: int = config["MODEL.RPN.PRE_NMS_TOPK_TEST"]
        self.num_after_nms: int = config["MODEL.RPN.POST_NMS_TOPK_TEST"]
        self.nms_threshold: float = config["MODEL.RPN.NMS_THRESH"]
        self.min_size: float = config["MODEL.PROPOSAL_GENERATOR.MIN_SIZE"]
        self.is_caffe: bool = config["CAFFE.BOXES"]
        self.is_benchmark: bool = config["BENCHMARK.BOXES"]
        self.pixel = 1.0 if self.is_caffe or self.is_benchmark else 0.0
        self.base_anchors = anchors_per_level(config)
        self.rpn_head = ProposalHead(
            channels[self.in_features[0]],
            num_anchors=len(self.base_anchors[0]),
            widths=config["MODEL.RPN.CONV_DIMS"],
        )
        self._grids: dict[tuple[int, int, int], Tensor] = {}

    def forward(
        self, maps: dict[str, Tensor], *, height: int, width: int, factor: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """Boxes (P, 4) within the resized picture of height x width, and their logits (P,), best first.

        factor: by which the picture was enlarged; caffe's minimum size is one in the original picture.
        """
        if self.is_caffe:
            return self.caffe_proposals(maps[self.in_features[0]], height=height, width=width, factor=factor)
        boxes, logits, levels = [], [], []
        for level, name in enumerate(self.in_features):
            level_logits, deltas = self.rpn_head(maps[name])
            best_logits, best = level_logits.topk(min(self.num_before_nms, len(level_logits)))
            anchors = self.anchors(level, maps[name])[best]
            corrected = apply_deltas(deltas[best], anchors, self.weights, pixel=self.pixel, inclusive=True)
            boxes.append(corrected[:, 0])
            logits.append(best_logits)
            levels.append(torch.full_like(best, level))
        return self.choose(torch.cat(boxes), torch.cat(logits), torch.cat(levels), height=height, width=width)

    def caffe_proposals(self, features: Tensor, *, height: int, width: int, factor: float) -> tuple[Tensor, Tensor]:
        """The same by the rules of py-faster-rcnn's `proposal_layer.py`: clip, minimum size, best, NMS, best."""
        logits, deltas = self.rpn_head(features)
        boxes = apply_deltas(deltas, self.anchors(0, features), self.weights, pixel=self.pixel)[:, 0]
        boxes = clip(boxes, height=height - self.pixel, width=width - self.pixel)
        kept = is_larger(boxes, max(0.0, self.min_size * factor - 1)) & torch.isfinite(logits)
        boxes, logits = boxes[kept], logits[kept]
        logits, best = logits.sort(descending=True, stable=True)
        boxes, logits = boxes[best[: self.num_before_nms]], logits[: self.num_before_nms]
        outer = boxes + boxes.new_tensor((0.0, 0.0, 1.0, 1.0))  # whose overlaps are those of whole pixels
        kept = nms(outer, logits, self.nms_threshold)[: self.num_after_nms]
        return boxes[kept], logits[kept]

    def choose(
        self, boxes: Tensor, logits: Tensor, levels: Tensor, *, height: int, width: int
    ) -> tuple[Tensor, Tensor]:
        """The proposals among the best anchors of every level."""
        finite = torch.isfinite(boxes).all(dim=1) & torch.isfinite(logits)
        boxes = clip(boxes, height=height - self.pixel, width=width - self.pixel)
        if self.is_benchmark:  # whose minimum is itself large enough; overlaps are torchvision's here as well
            kept = finite & (boxes[:, 2:] - boxes[:, :2] + self.pixel >= self.min_size).all(dim=1)
        else:
            kept = finite & is_larger(boxes, self.min_size)
        boxes, logits, levels = boxes[kept], logits[kept], levels[kept]
        best = batched_nms(boxes, logits, levels, self.nms_threshold)[: self.num_after_nms]
        return boxes[best], logits[best]

    def anchors(self, level: int, features: Tensor) -> Tensor:
        """The anchors of a level; kept, for the pictures of a data set come in few sizes."""
        height, width = features.shape[-2:]
        key = (level, height, width)
        if key not in self._grids:
            if len(self._grids) > 64:
                self._grids.clear()
            base = self.base_anchors[level].to(features.device)
            self._grids[key] = grid_anchors(
                base, height=height, width=width, stride=self.strides[level], offset=self.offset
            )
        return self._grids[key]


def anchors_per_level(config: DetectorConfig) -> list[Tensor]:
    """(A, 4) base anchors of every level; one list of sizes or ratios serves all levels."""
    num_levels = len(config["MODEL.RPN.IN_FEATURES"])
    sizes = config["MODEL.ANCHOR_GENERATOR.SIZES"]
    ratios = config["MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS"]
    sizes = sizes * num_levels if len(sizes) == 1 else sizes
    ratios = ratios * num_levels if len(ratios) == 1 else ratios
    if config["CAFFE.ANCHORS"]:
        anchors = [caffe_anchors(sizes[0], ratios[0], stride=16)]
    else:
        anchors = [base_anchors(*pair) for pair in zip(sizes, ratios, strict=True)]
    if len({len(level) for level in anchors}) != 1:
        raise ConfigError(
            f"{config.source}: MODEL.ANCHOR_GENERATOR gives {[len(level) for level in anchors]} anchors per pixel; "
            "every level needs the same number"
        )
    return anchors
