"""Faster R-CNN as detectron2 assembles it: a backbone, a proposal network, heads; run on one resized picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vltool.detectors.faster_rcnn.boxes import apply_deltas
from vltool.detectors.faster_rcnn.config import STAGES, DetectorConfig
from vltool.detectors.faster_rcnn.final import FILTER_OVERLAP
from vltool.detectors.faster_rcnn.fpn import FeaturePyramid
from vltool.detectors.faster_rcnn.heads import BoxHeads
from vltool.detectors.faster_rcnn.proposals import ProposalNetwork
from vltool.detectors.faster_rcnn.resnet import ResNet
from vltool.detectors.selection import surviving_scores
from vltool.errors import ConfigError

ATTRIBUTE_THRESHOLD = 0.01  # boxes that are kept at lower scores are rare, and their classes anybody's guess


@dataclass(frozen=True)
class Regions:
    """What the network gives for P boxes of a resized picture, in its frame; logits only for proposals."""

    boxes: Tensor  # (P, 4)
    features: Tensor  # (P, D)
    class_probabilities: Tensor  # (P, C + 1)
    regressed_boxes: Tensor  # (P, C or 1, 4), not clipped
    attribute_probabilities: Tensor | None  # (P, A)
    logits: Tensor | None  # (P,)


class FasterRCNN(nn.Module):
    """The network of a configuration, with detectron2's parameter names."""

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone: ResNet | FeaturePyramid
        if config.is_pyramid:
            self.backbone = FeaturePyramid(config)
        else:
            self.backbone = ResNet(config, stages_read(config))
        parts = {"strides": self.backbone.strides, "channels": self.backbone.channels}
        self.proposal_generator = ProposalNetwork(config, **parts)
        self.roi_heads = BoxHeads(config, **parts)
        self.num_wanted: int = config["TEST.DETECTIONS_PER_IMAGE"]
        self.box_weights = tuple(config["MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS"])
        self.register_buffer("pixel_mean", torch.tensor(config["MODEL.PIXEL_MEAN"]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(config["MODEL.PIXEL_STD"]).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False).eval()

    def feature_maps(self, *pixels: np.ndarray) -> dict[str, Tensor]:
        """The backbone's maps of resized pictures of one size, (h, w, 3) uint8 in the configuration's channel order."""
        tensor = torch.stack([torch.from_numpy(picture) for picture in pixels]).to(self.pixel_mean.device)
        tensor = tensor.permute(0, 3, 1, 2).float()
        if not self.config["CAFFE.RESIZE"]:  # where the mean went first
            tensor = (tensor - self.pixel_mean) / self.pixel_std
        divisor = self.backbone.size_divisibility
        if divisor:
            height, width = tensor.shape[-2:]
            tensor = F.pad(tensor, (0, -width % divisor, 0, -height % divisor))  # zeros, right and below
        dtype = next(self.backbone.parameters()).dtype
        return self.backbone(tensor.to(dtype).contiguous(memory_format=torch.channels_last))

    def propose(self, maps: dict[str, Tensor], *, height: int, width: int, factor: float = 1.0) -> Regions:
        """Regions at the network's own proposals, best first, of a picture that was enlarged by `factor`."""
        boxes, logits = self.proposal_generator(maps, height=height, width=width, factor=factor)
        return self.describe(maps, boxes, logits=logits, factor=factor)

    def describe(
        self, maps: dict[str, Tensor], boxes: Tensor, *, logits: Tensor | None = None, factor: float = 1.0
    ) -> Regions:
        """Regions at boxes (P, 4) in pixels of the resized picture."""
        features = self.roi_heads.features(maps, boxes)
        class_logits, deltas = self.roi_heads.box_predictor(features)
        probabilities = class_logits.softmax(dim=1)
        classes = self.attribute_classes(boxes, probabilities)
        return Regions(
            boxes=boxes,
            features=features,
            class_probabilities=probabilities,
            regressed_boxes=self.regress(deltas, boxes, factor=factor),
            attribute_probabilities=self.roi_heads.attribute_probabilities(features, classes),
            logits=logits,
        )

    def regress(self, deltas: Tensor, boxes: Tensor, *, factor: float) -> Tensor:
        """(P, C or 1, 4) the corrected boxes."""
        if self.config["BENCHMARK.IGNORE_REGRESSION"]:
            return boxes[:, None]
        if self.config["BENCHMARK.BOXES"]:
            return apply_deltas(deltas, boxes, self.box_weights, pixel=1.0, inclusive=True)
        # caffe corrects boxes in the original picture, a pixel of which is `factor` wide here
        return apply_deltas(deltas, boxes, self.box_weights, pixel=factor if self.config["CAFFE.BOXES"] else 0.0)

    def attribute_classes(self, boxes: Tensor, probabilities: Tensor) -> Tensor:
        """(P,) the class that each box's attributes are told from: the most probable one, background included.

        maskrcnn-benchmark tells them from the class that a kept box got: the most probable one in which it survives
        NMS, which is never the background.
        """
        if not self.config["BENCHMARK.BOXES"] or not self.config.has_attributes:
            return probabilities.argmax(dim=1)
        _, classes = surviving_scores(
            boxes.float().cpu().numpy(),
            probabilities.cpu().numpy(),
            nms_threshold=FILTER_OVERLAP,
            score_threshold=ATTRIBUTE_THRESHOLD,
            num_wanted=len(boxes) if self.num_wanted < 0 else self.num_wanted,
        )
        return torch.from_numpy(classes).to(boxes.device)


def stages_read(config: DetectorConfig) -> tuple[str, ...]:
    """The ResNet stages whose maps the proposal network and the heads read."""
    names = {*config["MODEL.RPN.IN_FEATURES"], *config["MODEL.ROI_HEADS.IN_FEATURES"]}
    for name in sorted(names):
        if name not in config["MODEL.RESNETS.OUT_FEATURES"] or name not in STAGES:
            raise ConfigError(
                f"{config.source}: MODEL.RPN.IN_FEATURES or MODEL.ROI_HEADS.IN_FEATURES names {name!r}, which is not "
                f"in MODEL.RESNETS.OUT_FEATURES = {config['MODEL.RESNETS.OUT_FEATURES']!r}"
            )
    return tuple(name for name in STAGES if name in names)
