"""Small Visual Genome detectors in published layouts, against the same networks computed plainly in float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from tests.detectors.plain import anchors, roi_pool, suppress
from vltool.detectors import load_detector
from vltool.detectors.faster_rcnn.config import read_config
from vltool.detectors.faster_rcnn.layouts import translate_weights
from vltool.detectors.faster_rcnn.model import FasterRCNN
from vltool.detectors.faster_rcnn.proposals import caffe_anchors
from vltool.errors import CheckpointError

CLASSES, ATTRIBUTES, EMBEDDING, HIDDEN, WIDTH, PROPOSALS = 5, 4, 256, 512, 64, 8
MEAN = [102.9801, 115.9465, 122.7717]
COMMON = """
  PIXEL_MEAN: [102.9801, 115.9465, 122.7717]
  RESNETS: {{DEPTH: 50, NORM: BN, STEM_OUT_CHANNELS: 4, RES2_OUT_CHANNELS: 8, WIDTH_PER_GROUP: 4{resnet}}}
  RPN: {{PRE_NMS_TOPK_TEST: 100, POST_NMS_TOPK_TEST: 8{rpn}}}
INPUT: {{MIN_SIZE_TEST: 96, MAX_SIZE_TEST: 160}}
"""
BUA_CAFFE = """
MODEL:
  META_ARCHITECTURE: GeneralizedBUARCNN
  ANCHOR_GENERATOR: {SIZES: [[1, 2, 3]]}
  PROPOSAL_GENERATOR: {NAME: BUARPN, MIN_SIZE: 6}
  BUA: {ATTRIBUTE_ON: True, RPN: {CONV_OUT_CHANNELS: 16}, ATTRIBUTE: {NUM_CLASSES: 5}, EXTRACTOR: {MODE: 1}}
  BACKBONE: {NAME: build_bua_resnet_backbone, FREEZE_AT: 3}
  ROI_HEADS: {NAME: BUACaffeRes5ROIHeads, NUM_CLASSES: 6, SCORE_THRESH_TEST: -1.0, NMS_THRESH_TEST: 0.3}
  ROI_BOX_HEAD: {POOLER_TYPE: ROIPool, BBOX_REG_WEIGHTS: "(1.0, 1.0, 1.0, 1.0)"}""" + COMMON.format(
    resnet=", RES5_DILATION: 2", rpn=", HEAD_NAME: StandardBUARPNHead"
)
PYB = """
MODEL:
  CAFFE_MAXPOOL: True
  ANCHOR_GENERATOR: {SIZES: [[16, 32, 48]]}
  PROPOSAL_GENERATOR: {HID_CHANNELS: 16}
  ROI_HEADS: {NUM_CLASSES: 5, NAME: Res5ROIHeads}
  ROI_BOX_HEAD: {POOLER_TYPE: ROIPool, RES5HALVE: False, ATTR: True, NUM_ATTRS: 4}""" + COMMON.format(resnet="", rpn="")


def make_weights(config_file: Path, layout: str) -> dict[str, Tensor]:
    """Seeded weights under the published names, in the published shapes."""
    random = torch.Generator().manual_seed(3)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random) * (1.5 / max(1, int(np.prod(shape[1:])))) ** 0.5

    weights = {}
    for name, tensor in FasterRCNN(read_config(config_file)).state_dict().items():
        if name.startswith("roi_heads.box_predictor") or name.startswith("roi_heads.attribute_predictor"):
            continue
        if name.endswith(("running_var", "norm.weight")):
            weights[name] = torch.rand(tensor.shape, generator=random) * 0.5 + 0.75
        else:
            weights[name] = (
                draw(*tensor.shape) if tensor.ndim > 1 else 0.1 * torch.randn(tensor.shape, generator=random)
            )
        if name.endswith("conv3.norm.weight"):
            weights[name] *= 0.3  # or activations would grow from block to block
    weights["backbone.stem.conv1.weight"] /= 60
    weights["proposal_generator.rpn_head.anchor_deltas.weight"] *= 0.2
    caffe = layout == "bua-caffe"
    num_boxes = CLASSES + 1 if caffe else CLASSES
    layers = {"cls_score": (CLASSES + 1, WIDTH), "bbox_pred": (4 * num_boxes, WIDTH)}
    names = ("cls_embed", "attr_linear1", "attr_linear2") if caffe else ("cls_embedding", "fc_attr", "attr_score")
    layers |= {names[1]: (HIDDEN, WIDTH + EMBEDDING), names[2]: (ATTRIBUTES + 1, HIDDEN)}
    for name, shape in layers.items():
        weights[f"roi_heads.box_predictor.{name}.weight"] = draw(*shape)
        if name == "bbox_pred":
            weights[f"roi_heads.box_predictor.{name}.weight"] *= 0.2
        weights[f"roi_heads.box_predictor.{name}.bias"] = 0.1 * torch.randn(shape[0], generator=random)
    weights[f"roi_heads.box_predictor.{names[0]}.weight"] = torch.randn(CLASSES + 1, EMBEDDING, generator=random)
    if caffe:
        weights["proposal_generator.rpn_head.objectness_logits.weight"] = draw(18, 16, 1, 1)
        weights["proposal_generator.rpn_head.objectness_logits.bias"] = 0.1 * torch.randn(18, generator=random)
    return weights


class Plain:
    """The network of one layout, step by step in float64."""

    def __init__(self, weights: dict[str, Tensor], *, caffe: bool) -> None:
        self.w = {name: tensor.double() for name, tensor in weights.items()}
        self.caffe = caffe
        self.pixel = 1.0 if caffe else 0.0

    def conv(self, x: Tensor, name: str, *, stride: int = 1, dilation: int = 1) -> Tensor:
        w = self.w[f"{name}.weight"]
        x = F.conv2d(x, w, stride=stride, dilation=dilation, padding=w.shape[2] // 2 * dilation)
        if f"{name}.bias" in self.w:
            return x + self.w[f"{name}.bias"][:, None, None]
        scale = self.w[f"{name}.norm.weight"] / (self.w[f"{name}.norm.running_var"] + 1e-5).sqrt()
        x = (x - self.w[f"{name}.norm.running_mean"][:, None, None]) * scale[:, None, None]
        return x + self.w[f"{name}.norm.bias"][:, None, None]

    def stage(self, x: Tensor, name: str, blocks: int, *, stride: int, dilation: int = 1) -> Tensor:
        for index in range(blocks):
            block, step = f"{name}.{index}", stride if index == 0 else 1
            y = self.conv(x, f"{block}.conv1", stride=step).relu()
            y = self.conv(y, f"{block}.conv2", dilation=dilation).relu()
            y = self.conv(y, f"{block}.conv3")
            x = (y + (self.conv(x, f"{block}.shortcut", stride=step) if index == 0 else x)).relu()
        return x

    def backbone(self, x: Tensor) -> Tensor:
        x = self.conv(x, "backbone.stem.conv1", stride=2).relu()
        x = F.pad(x, (0, x.shape[3] % 2 == 0, 0, x.shape[2] % 2 == 0), value=-np.inf)  # to where windows end
        x = F.max_pool2d(x, 3, 2)
        for number, (blocks, stride) in enumerate(((3, 1), (4, 2), (6, 2)), start=2):
            x = self.stage(x, f"backbone.res{number}", blocks, stride=stride)
        return x

    def decode(self, boxes: np.ndarray, deltas: np.ndarray, weights: tuple[float, ...]) -> np.ndarray:
        sizes = boxes[:, 2:] - boxes[:, :2] + self.pixel
        centres = boxes[:, :2] + sizes / 2 + deltas[:, :2] / weights[:2] * sizes
        sizes = sizes * np.exp(deltas[:, 2:] / weights[2:])
        return np.concatenate((centres - sizes / 2, centres + sizes / 2), axis=1)

    def anchors(self) -> np.ndarray:
        if self.caffe:
            return anchors()
        sides = [(s / r**0.5 / 2, s * r**0.5 / 2) for s in (16, 32, 48) for r in (0.5, 1, 2)]
        return np.array([[-w, -h, w, h] for w, h in sides])

    def proposals(self, x: Tensor, height: int, width: int, factor: float) -> np.ndarray:
        head = "proposal_generator.rpn_head"
        x = self.conv(x, f"{head}.conv").relu()
        logits = self.conv(x, f"{head}.objectness_logits")[0].numpy()
        deltas = self.conv(x, f"{head}.anchor_deltas")[0].numpy()
        scores, boxes = [], []
        for row in range(x.shape[2]):
            for column in range(x.shape[3]):
                for number, anchor in enumerate(self.anchors()):
                    if self.caffe:
                        background, found = np.exp(logits[number, row, column]), np.exp(logits[9 + number, row, column])
                        scores.append(found / (found + background))
                    else:
                        scores.append(logits[number, row, column])
                    shifted = anchor + 16 * np.array([column, row, column, row])
                    boxes.append(
                        self.decode(shifted[None], deltas[None, 4 * number : 4 * number + 4, row, column], (1,) * 4)[0]
                    )
        boxes = np.clip(np.array(boxes), 0, np.array([width, height, width, height]) - self.pixel)
        order = [int(index) for index in np.argsort(-np.array(scores), kind="stable")]
        sides = boxes[:, 2:] - boxes[:, :2] + self.pixel
        large = sides.min(axis=1) > (6 * factor if self.caffe else 0)
        order = [index for index in order if large[index]][:100] if self.caffe else [i for i in order[:100] if large[i]]
        return boxes[suppress(boxes, order, 0.7, self.pixel)[:PROPOSALS]]

    def linear(self, x: Tensor, name: str) -> Tensor:
        return x @ self.w[f"roi_heads.box_predictor.{name}.weight"].T + self.w[f"roi_heads.box_predictor.{name}.bias"]

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        bgr = image[:, :, ::-1].astype(np.float64)
        factor = 96 / 64
        if self.caffe:
            x = torch.from_numpy(bgr - MEAN).permute(2, 0, 1)[None]
            x = F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
        else:
            resized = np.asarray(Image.fromarray(np.ascontiguousarray(image[:, :, ::-1])).resize((120, 96), 2))
            x = torch.from_numpy(resized - np.array(MEAN)).permute(2, 0, 1)[None]
        height, width = x.shape[2:]
        maps = self.backbone(x)
        boxes = self.proposals(maps, height, width, factor)
        features = self.stage(
            torch.stack([roi_pool(maps, box) for box in boxes]), "roi_heads.res5", 3, stride=1, dilation=2
        ).mean(dim=(2, 3))
        logits = self.linear(features, "cls_score")
        embedding, hidden, last = (
            ("cls_embed", "attr_linear1", "attr_linear2") if self.caffe else ("cls_embedding", "fc_attr", "attr_score")
        )
        joined = torch.cat((features, self.w[f"roi_heads.box_predictor.{embedding}.weight"][logits.argmax(1)]), dim=1)
        attributes = self.linear(self.linear(joined, hidden).relu(), last)
        deltas = self.linear(features, "bbox_pred").numpy()
        original = boxes / factor
        limit = np.array([80, 64, 80, 64]) - self.pixel
        weights = (1.0,) * 4 if self.caffe else (10.0, 10.0, 5.0, 5.0)
        regressed = np.stack(
            [self.decode(original, deltas[:, 4 * c : 4 * c + 4], weights) for c in range(deltas.shape[1] // 4)], 1
        )
        probabilities = logits.softmax(1).numpy()
        return {
            "proposal_boxes": original,
            "features": features.numpy(),
            "class_probabilities": np.roll(probabilities, -1, axis=1) if self.caffe else probabilities,
            "attribute_probabilities": (
                attributes.softmax(1)[:, 1:] if self.caffe else attributes[:, :-1].softmax(1)
            ).numpy(),
            "regressed_boxes": np.clip(regressed[:, 1:] if self.caffe else regressed, 0, limit),
        }


@pytest.fixture
def image() -> np.ndarray:
    random = np.random.default_rng(5)
    image = np.full((64, 80, 3), 90.0)
    for _ in range(12):
        x, y = random.integers(0, 70), random.integers(0, 55)
        image[y : y + 25, x : x + 30] = random.integers(0, 255, 3)
    return np.clip(image + random.normal(0, 5, image.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("layout", "text"), [("bua-caffe", BUA_CAFFE), ("pyb", PYB)])
def test_published_layouts_agree_with_a_plain_network(
    tmp_path: Path, image: np.ndarray, layout: str, text: str
) -> None:
    config_file = tmp_path / "config.yaml"
    config_file.write_text(text)
    weights = make_weights(config_file, layout)
    torch.save({"model": weights}, tmp_path / "model.pth")
    (tmp_path / "objects_vocab.txt").write_text("yolk\ngoal\nbathroom,rest room\nmacaroni\numpire\n")
    (tmp_path / "attributes_vocab.txt").write_text("nuclear\nfirst,1st\nsparse\ndried\n")
    detector = load_detector(config_file=config_file, weights=tmp_path / "model.pth", precision="float32", device="cpu")
    found = detector.detect(image)
    expected = Plain(weights, caffe=layout == "bua-caffe").run(image)
    assert found.num_regions == len(expected["proposal_boxes"]) > 3
    for name, values in expected.items():
        tolerance = 0.01 if "boxes" in name else 1e-4 * np.abs(values).max()
        np.testing.assert_allclose(getattr(found, name), values, atol=tolerance, rtol=0, err_msg=name)
    assert detector.class_names == ("yolk", "goal", "bathroom", "macaroni", "umpire")
    assert detector.attribute_names == ("nuclear", "first", "sparse", "dried")
    given = detector.detect_at(image, found.proposal_boxes)
    assert np.abs(given.features - found.features).max() <= 1e-3 * np.abs(found.features).max()


def test_caffe_anchors_are_whole_pixels_with_ratios_outer() -> None:
    anchors = caffe_anchors([64.0, 128.0, 256.0, 512.0], [0.5, 1.0, 2.0], stride=16)
    assert anchors.shape == (12, 4)
    assert anchors[0].tolist() == [-38, -16, 53, 31]  # 92 x 48 pixels, the last row and column included
    assert anchors[4].tolist() == [-24, -24, 39, 39]
    assert anchors[8].tolist() == [-14, -36, 29, 51]


def test_one_score_per_anchor_is_refused_of_a_caffe_detector(tmp_path: Path) -> None:
    config_file = tmp_path / "config.yaml"
    config_file.write_text(BUA_CAFFE)
    weights = make_weights(config_file, "bua-caffe")
    name = "proposal_generator.rpn_head.objectness_logits.weight"
    torch.save({"model": {**weights, name: weights[name][:9]}}, tmp_path / "model.pth")
    with pytest.raises(CheckpointError, match="two scores per anchor"):
        load_detector(config_file=config_file, weights=tmp_path / "model.pth")


def test_the_three_attribute_heads_are_one_head_under_three_sets_of_names(tmp_path: Path, image: np.ndarray) -> None:
    config_file = tmp_path / "config.yaml"
    config_file.write_text(PYB)
    ours, _ = translate_weights(make_weights(config_file, "pyb"), read_config(config_file), source="a")
    head = "roi_heads.attribute_predictor."
    found = []
    for names, cut in (
        (("attribute_predictor.obj_embed", "attribute_predictor.fc.0", "attribute_predictor.attr_score"), True),
        (("box_predictor.cls_embed", "box_predictor.attr_linear1", "box_predictor.attr_linear2"), True),
        (("box_predictor.cls_embedding", "box_predictor.fc_attr", "box_predictor.attr_score"), False),
    ):
        weights = dict(ours)
        for own, theirs in zip(("obj_embed", "fc.0", "attr_score"), names, strict=True):
            for kind in ("weight", "bias"):
                if f"{head}{own}.{kind}" in ours:
                    tensor = weights.pop(f"{head}{own}.{kind}")
                    padded = tensor if cut or own != "attr_score" else torch.cat((tensor, tensor[:1] + 9))
                    weights[f"roi_heads.{theirs}.{kind}"] = padded
        torch.save({"model": weights}, tmp_path / "model.pth")
        detector = load_detector(
            config_file=config_file, weights=tmp_path / "model.pth", precision="float32", device="cpu"
        )
        found.append(detector.detect(image).attribute_probabilities)
    assert found[0].shape[1] == ATTRIBUTES
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_detectron2_style_of_bottom_up_attention_keeps_detectron2s_rules(tmp_path: Path) -> None:
    config_file = tmp_path / "config.yaml"
    config_file.write_text(
        "MODEL: {ATTRIBUTE_ON: True, ROI_HEADS: {NAME: AttributeRes5ROIHeads, NUM_CLASSES: 1600}, "
        "BUA: {ATTRIBUTE_ON: True, EXTRACTOR: {MODE: 1, CONF_THRESH: 0.4}}}"
    )
    config = read_config(config_file)
    assert config.has_attributes and config["MODEL.ROI_ATTRIBUTE_HEAD.NUM_CLASSES"] == 400
    assert not any(name.startswith("CAFFE.") for name in config.described())
