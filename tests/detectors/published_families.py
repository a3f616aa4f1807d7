"""VinVL's X152-C4 and bua-caffe-frcn-r152 in small: seeded weights under the published names, computed in float64.

Names, shapes and rules are written down here from microsoft/scene_graph_benchmark at 8e14944 and
MILVLG/bottom-up-attention.pytorch at 4dbce86, and share nothing with the runner.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from tests.detectors.plain import anchors, roi_pool, suppress

CLASSES, ATTRIBUTES, BLOCKS = 5, 4, (3, 4, 6, 3)
VINVL = """
MODEL:
  META_ARCHITECTURE: "AttrRCNN"
  BACKBONE: {CONV_BODY: "R-50-C4"}
  RESNETS: {BACKBONE_OUT_CHANNELS: 32, STRIDE_IN_1X1: False, NUM_GROUPS: 2, WIDTH_PER_GROUP: 2, RES2_OUT_CHANNELS: 8,
    STEM_OUT_CHANNELS: 4}
  RPN: {ANCHOR_SIZES: "(16, 32, 48)", PRE_NMS_TOP_N_TEST: 100, POST_NMS_TOP_N_TEST: 8}
  ROI_HEADS: {SCORE_THRESH: 0.2, DETECTIONS_PER_IMG: 8, MIN_DETECTIONS_PER_IMG: 3, NMS_FILTER: 0}
  ROI_BOX_HEAD: {NUM_CLASSES: 6}
  ROI_ATTRIBUTE_HEAD: {NUM_ATTRIBUTES: 5, POSTPROCESS_ATTRIBUTES_THRESHOLD: 0.05}
  ATTRIBUTE_ON: True
INPUT: {MIN_SIZE_TEST: 96, MAX_SIZE_TEST: 113, PIXEL_MEAN: [103.530, 116.280, 123.675]}
TEST: {IMS_PER_BATCH: 1, SAVE_PREDICTIONS: True, IGNORE_BOX_REGRESSION: False}
"""
R152 = """
MODEL:
  META_ARCHITECTURE: GeneralizedBUARCNN
  PIXEL_MEAN: [0, 0, 0]
  ANCHOR_GENERATOR: {SIZES: [[1, 2, 3]]}
  PROPOSAL_GENERATOR: {NAME: BUARPN, MIN_SIZE: 6}
  BUA: {ATTRIBUTE_ON: True, RESNET_VERSION: 2, RPN: {CONV_OUT_CHANNELS: 16}, ATTRIBUTE: {NUM_CLASSES: 5}}
  RESNETS: {DEPTH: 50, OUT_FEATURES: ["res4"], NORM: "BN", RES5_DILATION: 1, STRIDE_IN_1X1: False,
    STEM_OUT_CHANNELS: 4, RES2_OUT_CHANNELS: 8, WIDTH_PER_GROUP: 4}
  BACKBONE: {NAME: build_bua_resnet_backbone, FREEZE_AT: 3}
  RPN: {HEAD_NAME: StandardBUARPNHead, PRE_NMS_TOPK_TEST: 100, POST_NMS_TOPK_TEST: 8}
  ROI_HEADS: {NAME: BUACaffeRes5ROIHeads, NUM_CLASSES: 6, SCORE_THRESH_TEST: -1.0, NMS_THRESH_TEST: 0.3}
  ROI_BOX_HEAD: {POOLER_TYPE: ROIPool, BBOX_REG_WEIGHTS: "(1.0, 1.0, 1.0, 1.0)"}
INPUT: {MIN_SIZE_TEST: 96, MAX_SIZE_TEST: 160}
"""


class Weights(dict[str, Tensor]):
    """Seeded parameters, added layer by layer."""

    def __init__(self) -> None:
        super().__init__()
        self.random = torch.Generator().manual_seed(7)

    def layer(self, name: str, *shape: int, bias: bool = False, scale: float = 1.0) -> None:
        fan_in = max(1, int(np.prod(shape[1:])))
        self[f"{name}.weight"] = torch.randn(shape, generator=self.random) * (1.5 / fan_in) ** 0.5 * scale
        if bias:
            self[f"{name}.bias"] = 0.1 * torch.randn(shape[0], generator=self.random)

    def norm(self, name: str, width: int, scale: float = 1.0) -> None:
        self[f"{name}.weight"] = (torch.rand(width, generator=self.random) * 0.5 + 0.75) * scale
        self[f"{name}.bias"] = 0.1 * torch.randn(width, generator=self.random)
        self[f"{name}.running_mean"] = 0.1 * torch.randn(width, generator=self.random)
        self[f"{name}.running_var"] = torch.rand(width, generator=self.random) * 0.5 + 0.75


def vinvl_weights() -> dict[str, Tensor]:
    w = Weights()
    w.layer("backbone.body.stem.conv1", 4, 3, 7, 7, scale=1 / 60)
    w.norm("backbone.body.stem.bn1", 4)
    before = 4
    for number, blocks in enumerate(BLOCKS, start=1):
        where = "backbone.body." if number < 4 else "roi_heads.box.feature_extractor.head."
        out, inner = 4 * 2**number, 2 * 2**number  # groups x width, 2 x 2, doubled from layer to layer
        for index in range(blocks):
            block = f"{where}layer{number}.{index}"
            if index == 0:
                w.layer(f"{block}.downsample.0", out, before, 1, 1)
                w.norm(f"{block}.downsample.1", out)
            w.layer(f"{block}.conv1", inner, before, 1, 1)
            w.layer(f"{block}.conv2", inner, inner // 2, 3, 3)
            w.layer(f"{block}.conv3", out, inner, 1, 1)
            for norm, width in ((1, inner), (2, inner), (3, out)):
                w.norm(f"{block}.bn{norm}", width, 0.3 if norm == 3 else 1.0)
            before = out
    w.layer("rpn.head.conv", 32, 32, 3, 3, bias=True)
    w.layer("rpn.head.cls_logits", 9, 32, 1, 1, bias=True)
    w.layer("rpn.head.bbox_pred", 36, 32, 1, 1, bias=True, scale=0.2)
    w.layer("roi_heads.box.predictor.cls_score", CLASSES + 1, 64, bias=True)
    w.layer("roi_heads.box.predictor.bbox_pred", 4 * (CLASSES + 1), 64, bias=True, scale=2)
    w.layer("attribute.predictor.cls_embedding", CLASSES + 1, 256, scale=10)
    w.layer("attribute.predictor.fc_attr", 512, 64 + 256, bias=True)
    w.layer("attribute.predictor.attr_score", ATTRIBUTES + 1, 512, bias=True)
    for name in list(w):  # the one feature extractor is saved under both heads
        if name.startswith("roi_heads.box.feature_extractor."):
            w[name.replace("roi_heads.box.", "attribute.")] = w[name]
    w["rpn.anchor_generator.cell_anchors.0"] = torch.from_numpy(anchors()).float()
    return {f"module.{name}": tensor for name, tensor in w.items()}


def r152_weights() -> dict[str, Tensor]:
    w = Weights()
    w.norm("backbone.stem.norm", 3, 1 / 60)
    w.layer("backbone.stem.conv1", 4, 3, 7, 7)
    w.norm("backbone.stem.conv1.norm", 4)
    before = 4
    for number, blocks in enumerate(BLOCKS, start=1):
        where = "backbone." if number < 4 else "roi_heads."
        out, inner = 4 * 2**number, 2 * 2**number
        for index in range(blocks):
            block = f"{where}res{number + 1}.{index}"
            if index == 0:
                w.layer(f"{block}.shortcut", out, before, 1, 1)
            w.norm(f"{block}.norm", before)
            w.layer(f"{block}.conv1", inner, before, 1, 1)
            w.layer(f"{block}.conv2", inner, inner, 3, 3)
            w.layer(f"{block}.conv3", out, inner, 1, 1, scale=0.3)
            w.norm(f"{block}.conv2.norm", inner)
            w.norm(f"{block}.conv3.norm", inner)
            before = out
    w.norm("roi_heads.res5_bn", 64)
    w.layer("proposal_generator.rpn_head.conv", 16, 32, 3, 3, bias=True)
    w.layer("proposal_generator.rpn_head.objectness_logits", 18, 16, 1, 1, bias=True)
    w.layer("proposal_generator.rpn_head.anchor_deltas", 36, 16, 1, 1, bias=True, scale=0.2)
    w.layer("roi_heads.box_predictor.cls_score", CLASSES + 1, 64, bias=True)
    w.layer("roi_heads.box_predictor.bbox_pred", 4 * (CLASSES + 1), 64, bias=True, scale=0.2)
    w.layer("roi_heads.box_predictor.cls_embed", CLASSES + 1, 256, scale=10)
    w.layer("roi_heads.box_predictor.attr_linear1", 512, 64 + 256, bias=True)
    w.layer("roi_heads.box_predictor.attr_linear2", ATTRIBUTES + 1, 512, bias=True)
    w["proposal_generator.anchor_generator.cell_anchors.0"] = torch.from_numpy(anchors()).float()
    return dict(w)


class Plain:
    """What both networks have in common, step by step in float64."""

    rpn: ClassVar[dict[str, str]]
    last = 0.0  # what a corrected box ends before its right and lower edge
    epsilon = 0.0

    def __init__(self, weights: dict[str, Tensor]) -> None:
        self.w = {name.removeprefix("module."): tensor.double() for name, tensor in weights.items()}

    def conv(self, x: Tensor, name: str, *, stride: int = 1, groups: int = 1) -> Tensor:
        w = self.w[f"{name}.weight"]
        return F.conv2d(x, w, self.w.get(f"{name}.bias"), stride=stride, padding=w.shape[2] // 2, groups=groups)

    def norm(self, x: Tensor, name: str) -> Tensor:
        weight, bias, mean, var = (
            self.w[f"{name}.{part}"][:, None, None] for part in ("weight", "bias", "running_mean", "running_var")
        )
        return (x - mean) * weight / (var + self.epsilon).sqrt() + bias

    def linear(self, x: Tensor, name: str) -> Tensor:
        return x @ self.w[f"{name}.weight"].T + self.w[f"{name}.bias"]

    def decode(self, boxes: np.ndarray, deltas: np.ndarray, weights: tuple[float, ...]) -> np.ndarray:
        sizes = boxes[:, 2:] - boxes[:, :2] + 1
        centres = boxes[:, :2] + sizes / 2 + deltas[:, :2] / weights[:2] * sizes
        sizes = sizes * np.exp(deltas[:, 2:] / weights[2:])
        return np.concatenate((centres - sizes / 2, centres + sizes / 2 - self.last), axis=1)

    def candidates(self, x: Tensor, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Scores and clipped boxes of all anchors, row by row, column by column."""
        x = self.conv(x, self.rpn["conv"]).relu()
        logits, deltas = (self.conv(x, self.rpn[part])[0].numpy() for part in ("logits", "deltas"))
        scores, boxes = [], []
        for row in range(x.shape[2]):
            for column in range(x.shape[3]):
                for number, anchor in enumerate(anchors()):
                    scores.append(self.score(logits[:, row, column], number))
                    shifted = anchor + 16 * np.array([column, row, column, row])
                    delta = deltas[None, 4 * number : 4 * number + 4, row, column]
                    boxes.append(self.decode(shifted[None], delta, (1, 1, 1, 1))[0])
        return np.array(scores), np.clip(np.array(boxes), 0, np.array([width, height, width, height]) - 1)

    def score(self, logits: np.ndarray, number: int) -> float:
        raise NotImplementedError


class VinVL(Plain):
    rpn: ClassVar = {"conv": "rpn.head.conv", "logits": "rpn.head.cls_logits", "deltas": "rpn.head.bbox_pred"}
    last = 1.0

    def score(self, logits: np.ndarray, number: int) -> float:
        return float(1 / (1 + np.exp(-logits[number])))

    def layer(self, x: Tensor, name: str, blocks: int, stride: int) -> Tensor:
        for index in range(blocks):
            block, step = f"{name}.{index}", stride if index == 0 else 1
            y = self.norm(self.conv(x, f"{block}.conv1"), f"{block}.bn1").relu()
            y = self.norm(self.conv(y, f"{block}.conv2", stride=step, groups=2), f"{block}.bn2").relu()
            y = self.norm(self.conv(y, f"{block}.conv3"), f"{block}.bn3")
            if index == 0:
                x = self.norm(self.conv(x, f"{block}.downsample.0", stride=step), f"{block}.downsample.1")
            x = (x + y).relu()
        return x

    def pool(self, x: Tensor, box: np.ndarray) -> Tensor:
        """ROIAlign of the first version: corners on pixel centres, at least one cell wide, as many samples as cells."""
        x1, y1, x2, y2 = box / 16
        width, height = max(x2 - x1, 1.0), max(y2 - y1, 1.0)
        across, down = (int(np.ceil(extent / 14)) for extent in (width, height))
        cells = torch.zeros(x.shape[1], 14, 14, dtype=torch.float64)
        for i in range(14):
            for j in range(14):
                for a in range(down):
                    for b in range(across):
                        row = y1 + (i + (a + 0.5) / down) * height / 14
                        column = x1 + (j + (b + 0.5) / across) * width / 14
                        cells[:, i, j] += self.sample(x[0], row, column) / (down * across)
        return cells

    def sample(self, x: Tensor, row: float, column: float) -> Tensor:
        height, width = x.shape[1:]
        if row < -1 or row > height or column < -1 or column > width:
            return torch.zeros(len(x), dtype=torch.float64)
        row, column = min(max(row, 0.0), height - 1), min(max(column, 0.0), width - 1)
        top, left = int(row), int(column)
        low, right = min(top + 1, height - 1), min(left + 1, width - 1)
        upper = x[:, top, left] * (1 - column + left) + x[:, top, right] * (column - left)
        lower = x[:, low, left] * (1 - column + left) + x[:, low, right] * (column - left)
        return upper * (1 - row + top) + lower * (row - top)

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        # 96/64 would make the longer side 120 > 113; so the shorter is round(113 x 64/80) = 90, and 90 x 80/64 = 112.5
        height, width = 90, 112
        resized = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))[:, :, ::-1]
        x = torch.from_numpy(resized - np.array([103.530, 116.280, 123.675])).permute(2, 0, 1)[None]
        x = self.norm(self.conv(x, "backbone.body.stem.conv1", stride=2), "backbone.body.stem.bn1").relu()
        x = F.max_pool2d(x, 3, 2, padding=1)
        for number in (1, 2, 3):
            x = self.layer(x, f"backbone.body.layer{number}", BLOCKS[number - 1], 1 if number == 1 else 2)
        scores, candidates = self.candidates(x, height, width)
        order = [int(index) for index in np.argsort(-scores, kind="stable")][:100]
        boxes = candidates[suppress(candidates, order, 0.7, 0.0)[:8]]  # overlaps are those of torchvision
        pooled = torch.stack([self.pool(x, box) for box in boxes])
        features = self.layer(pooled, "roi_heads.box.feature_extractor.head.layer4", 3, 2).mean(dim=(2, 3))
        probabilities = self.linear(features, "roi_heads.box.predictor.cls_score").softmax(1).numpy()
        deltas = self.linear(features, "roi_heads.box.predictor.bbox_pred").numpy()
        regressed = np.stack(
            [self.decode(boxes, deltas[:, 4 * c : 4 * c + 4], (10, 10, 5, 5)) for c in range(CLASSES + 1)], axis=1
        )
        regressed = np.clip(regressed, 0, np.array([width, height, width, height]) - 1)
        best = survivors(boxes, probabilities)
        labels = [
            best[row][1] if row in best else int(probabilities[row, 1:].argmax()) + 1 for row in range(len(boxes))
        ]
        joined = torch.cat((features, self.w["attribute.predictor.cls_embedding.weight"][labels]), dim=1)
        hidden = self.linear(joined, "attribute.predictor.fc_attr").relu()
        attributes = self.linear(hidden, "attribute.predictor.attr_score").softmax(1).numpy()
        factors = np.array([80 / width, 64 / height] * 2)
        return {
            "proposal_boxes": boxes * factors,
            "features": features.numpy(),
            "class_probabilities": np.roll(probabilities, -1, axis=1),
            "attribute_probabilities": attributes[:, 1:],
            "regressed_boxes": regressed[:, 1:] * factors,
        }


def survivors(boxes: np.ndarray, probabilities: np.ndarray) -> dict[int, tuple[float, int]]:
    """NMS_FILTER 1 on boxes that serve all classes: the best surviving probability and class of every region."""
    best: dict[int, tuple[float, int]] = {}
    for label in range(1, probabilities.shape[1]):
        order = [int(index) for index in np.argsort(-probabilities[:, label], kind="stable")]
        for row in suppress(boxes, order, 0.3, 0.0):
            best[row] = max(
                best.get(row, (0.0, 0)), (float(probabilities[row, label]), label), key=lambda pair: pair[0]
            )
    return best


class R152Network(Plain):
    rpn: ClassVar = {
        "conv": "proposal_generator.rpn_head.conv",
        "logits": "proposal_generator.rpn_head.objectness_logits",
        "deltas": "proposal_generator.rpn_head.anchor_deltas",
    }
    epsilon = 2e-5

    def score(self, logits: np.ndarray, number: int) -> float:
        background, found = np.exp(logits[number]), np.exp(logits[9 + number])
        return float(found / (found + background))

    def block(self, x: Tensor, name: str, stride: int, *, is_normalized: bool = False) -> Tensor:
        first = x if is_normalized else self.norm(x, f"{name}.norm").relu()
        y = self.conv(first, f"{name}.conv1")
        y = self.conv(self.norm(y, f"{name}.conv2.norm").relu(), f"{name}.conv2", stride=stride)
        y = self.conv(self.norm(y, f"{name}.conv3.norm").relu(), f"{name}.conv3")
        return y + (self.conv(first, f"{name}.shortcut", stride=stride) if f"{name}.shortcut.weight" in self.w else x)

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        factor, height, width = 1.5, 96, 120
        x = torch.from_numpy(image[:, :, ::-1].astype(np.float64)).permute(2, 0, 1)[None]
        x = F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
        x = self.conv(self.norm(x, "backbone.stem.norm"), "backbone.stem.conv1", stride=2)
        x = self.norm(x, "backbone.stem.conv1.norm").relu()
        x = F.pad(x, (0, x.shape[3] % 2 == 0, 0, x.shape[2] % 2 == 0), value=-np.inf)  # to where windows end
        x = F.max_pool2d(x, 3, 2)
        for number in (2, 3, 4):
            for index in range(BLOCKS[number - 2]):
                x = self.block(x, f"backbone.res{number}.{index}", 2 if number > 2 and index == 0 else 1)
        x = self.norm(x, "roi_heads.res5.0.norm").relu()  # what proposals and regions are made from
        scores, candidates = self.candidates(x, height, width)
        large = (candidates[:, 2:] - candidates[:, :2] + 1).min(axis=1) > 6 * factor
        order = [int(index) for index in np.argsort(-scores, kind="stable") if large[index]][:100]
        boxes = candidates[suppress(candidates, order, 0.7, 1.0)[:8]]
        y = torch.stack([roi_pool(x, box) for box in boxes])
        y = self.block(y, "roi_heads.res5.0", 2, is_normalized=True)
        for index in (1, 2):
            y = self.block(y, f"roi_heads.res5.{index}", 1)
        features = self.norm(y, "roi_heads.res5_bn").relu().mean(dim=(2, 3))
        head = "roi_heads.box_predictor."
        logits = self.linear(features, f"{head}cls_score")
        joined = torch.cat((features, self.w[f"{head}cls_embed.weight"][logits.argmax(1)]), dim=1)
        attributes = self.linear(self.linear(joined, f"{head}attr_linear1").relu(), f"{head}attr_linear2").softmax(1)
        deltas = self.linear(features, f"{head}bbox_pred").numpy()
        original = boxes / factor
        regressed = np.stack(
            [self.decode(original, deltas[:, 4 * c : 4 * c + 4], (1, 1, 1, 1)) for c in range(CLASSES + 1)], axis=1
        )
        return {
            "proposal_boxes": original,
            "features": features.numpy(),
            "class_probabilities": np.roll(logits.softmax(1).numpy(), -1, axis=1),
            "attribute_probabilities": attributes[:, 1:].numpy(),
            "regressed_boxes": np.clip(regressed[:, 1:], 0, np.array([79, 63, 79, 63])),
        }


FAMILIES = {"vinvl": (VINVL, vinvl_weights, VinVL), "r152": (R152, r152_weights, R152Network)}
