"""What is said about a box: its features, its class, a better box, its attribute.

Parameters have the names of detectron2 (`roi_heads.res5`, `roi_heads.box_head.fc1`, `roi_heads.box_predictor`)
and of grid-feats-vqa (`roi_heads.attribute_predictor.obj_embed`, `.fc.0`, `.attr_score`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vltool.detectors.faster_rcnn.config import DetectorConfig
from vltool.detectors.faster_rcnn.convolution import Convolution, FixedNorm
from vltool.detectors.faster_rcnn.pooling import BoxPooler
from vltool.detectors.faster_rcnn.resnet import build_stage, stage_channels

BOXES_AT_ONCE = 50  # through res5 on a processor: what they become stays in its caches


class FullyConnectedHead(nn.Module):
    """Convolutions, then fully connected layers with ReLU: the box head of pyramids and dilated ResNets."""

    def __init__(self, config: DetectorConfig, in_channels: int) -> None:
        super().__init__()
        self.names: list[str] = []
        size = config["MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION"]
        for index in range(config["MODEL.ROI_BOX_HEAD.NUM_CONV"]):
            width, norm = config["MODEL.ROI_BOX_HEAD.CONV_DIM"], config["MODEL.ROI_BOX_HEAD.NORM"]
            self._append(f"conv{index + 1}", Convolution(in_channels, width, 3, norm=norm, relu=True))
            in_channels = width
        self.out_width = in_channels * size * size
        for index in range(config["MODEL.ROI_BOX_HEAD.NUM_FC"]):
            width = config["MODEL.ROI_BOX_HEAD.FC_DIM"]
            self._append(f"fc{index + 1}", nn.Linear(self.out_width, width))
            self.out_width = width

    def _append(self, name: str, layer: nn.Module) -> None:
        self.names.append(name)
        self.add_module(name, layer)

    def forward(self, features: Tensor) -> Tensor:
        for name in self.names:
            layer = self.get_submodule(name)
            features = F.relu_(layer(features.flatten(1))) if isinstance(layer, nn.Linear) else layer(features)
        return features.flatten(1)


class BoxPredictor(nn.Module):
    """Class logits (background last) and box corrections, per class or for all classes at once."""

    def __init__(self, in_width: int, *, num_classes: int, class_agnostic: bool) -> None:
        super().__init__()
        self.cls_score = nn.Linear(in_width, num_classes + 1)
        self.bbox_pred = nn.Linear(in_width, 4 * (1 if class_agnostic else num_classes))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        return self.cls_score(features), self.bbox_pred(features)


class AttributeHead(nn.Module):
    """Attribute logits from a box's features beside the embedding of its class (background included)."""

    def __init__(self, in_width: int, *, num_classes: int, num_attributes: int, embedding: int, hidden: int) -> None:
        super().__init__()
        self.obj_embed = nn.Embedding(num_classes + 1, embedding)
        self.fc = nn.Sequential(nn.Linear(in_width + embedding, hidden), nn.ReLU())
        self.attr_score = nn.Linear(hidden, num_attributes)

    def forward(self, features: Tensor, classes: Tensor) -> Tensor:
        return self.attr_score(self.fc(torch.cat((features, self.obj_embed(classes)), dim=1)))


def build_attribute_head(config: DetectorConfig, in_width: int) -> AttributeHead:
    return AttributeHead(
        in_width,
        num_classes=config["MODEL.ROI_HEADS.NUM_CLASSES"],
        num_attributes=config["MODEL.ROI_ATTRIBUTE_HEAD.NUM_CLASSES"] + int(config["CAFFE.ATTRIBUTE_BACKGROUND"]),
        embedding=config["MODEL.ROI_ATTRIBUTE_HEAD.OBJ_EMBED_DIM"],
        hidden=config["MODEL.ROI_ATTRIBUTE_HEAD.FC_DIM"],
    )


class BoxHeads(nn.Module):
    """All heads of a detector: (P, D) features of boxes, and what is predicted from them."""

    def __init__(self, config: DetectorConfig, *, strides: dict[str, int], channels: dict[str, int]) -> None:
        super().__init__()
        # Where the first block of res5 steps over every second cell with its 1x1 convolutions, these need no pooling.
        dilated = config["CAFFE.DILATED_RES5"]
        self.step = 2 if config.has_res5_head and config["MODEL.RESNETS.STRIDE_IN_1X1"] and not dilated else 1
        self.pooler = BoxPooler(config, strides, step=self.step)
        self.res5: nn.Sequential | None = None
        self.box_head: FullyConnectedHead | None = None
        if config.has_res5_head:
            # Its stride is 2 and its dilation 1 whatever MODEL.RESNETS.RES5_DILATION says, as in detectron2.
            stride, dilation = (1, 2) if dilated else (2 // self.step, 1)
            self.res5 = build_stage(config, "res5", stride=stride, dilation=dilation, num_blocks=3, is_normalized=True)
            self.feature_dim = stage_channels(config, "res5")
        else:
            self.box_head = FullyConnectedHead(config, channels[self.pooler.in_features[0]])
            self.feature_dim = self.box_head.out_width
        self.res5_bn = FixedNorm(self.feature_dim) if config["CAFFE.NORMALIZE_FIRST"] else None
        self.box_predictor = BoxPredictor(
            self.feature_dim,
            num_classes=config["MODEL.ROI_HEADS.NUM_CLASSES"],
            class_agnostic=config["MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG"],
        )
        self.attribute_background = config["CAFFE.ATTRIBUTE_BACKGROUND"]
        self.attribute_predictor = build_attribute_head(config, self.feature_dim) if config.has_attributes else None

    def features(self, maps: dict[str, Tensor], boxes: Tensor) -> Tensor:
        """(P, D) float32, what the box predictor sees: the mean of res5, or the box head's last layer."""
        if self.res5 is None:
            assert self.box_head is not None
            return self.box_head(self.pooler({name: tensor.float() for name, tensor in maps.items()}, boxes))
        features = boxes.new_empty(len(boxes), self.feature_dim)
        chunk = BOXES_AT_ONCE if boxes.device.type == "cpu" else max(1, len(boxes))
        for start in range(0, len(boxes), chunk):
            rows = slice(start, start + chunk)
            cells = self.res5(self.pooler(maps, boxes[rows]))
            if self.res5_bn is not None:
                cells = F.relu_(self.res5_bn(cells))
            features[rows] = cells.mean(dim=(2, 3), dtype=torch.float32)
        return features

    def attribute_probabilities(self, features: Tensor, classes: Tensor) -> Tensor | None:
        """(P, A), given a class of each box, background included (bottom-up-attention's test net)."""
        if self.attribute_predictor is None:
            return None
        probabilities = self.attribute_predictor(features, classes).softmax(dim=1)
        return probabilities[:, :-1] if self.attribute_background else probabilities
