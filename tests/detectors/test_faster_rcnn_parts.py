"""The parts of the built-in runner, on numbers worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from vltool.detectors.faster_rcnn.boxes import apply_deltas, clip, is_larger
from vltool.detectors.faster_rcnn.config import resolve
from vltool.detectors.faster_rcnn.convolution import Convolution, fold_all
from vltool.detectors.faster_rcnn.model import FasterRCNN
from vltool.detectors.faster_rcnn.pooling import BoxPooler
from vltool.detectors.faster_rcnn.proposals import ProposalNetwork, base_anchors, grid_anchors
from vltool.detectors.faster_rcnn.resize import resize, resized_shape
from vltool.errors import ConfigError

ONES = (1.0, 1.0, 1.0, 1.0)


def test_anchors_have_size_outer_and_ratio_inner() -> None:
    found = base_anchors([32, 64], [0.5, 1.0])
    wide = 32 * math.sqrt(2)
    expected = [[-wide / 2, -wide / 4, wide / 2, wide / 4], [-16, -16, 16, 16]]
    torch.testing.assert_close(found[:2], torch.tensor(expected))
    torch.testing.assert_close(found[3], torch.tensor([-32.0, -32, 32, 32]))


def test_anchors_go_row_by_row_with_the_offset() -> None:
    found = grid_anchors(torch.tensor([[-1.0, -1, 1, 1]]), height=2, width=3, stride=16, offset=0.5)
    centres = (found[:, :2] + found[:, 2:]) / 2
    assert centres.tolist() == [[8, 8], [24, 8], [40, 8], [8, 24], [24, 24], [40, 24]]


def test_deltas_move_and_scale_and_are_clamped() -> None:
    boxes = torch.tensor([[10.0, 20, 30, 60]])  # 20 x 40 around (20, 40)
    deltas = torch.tensor([[0.5, -0.25, math.log(2), 0.0, 0, 0, 100.0, 0]])
    moved = apply_deltas(deltas, boxes, ONES)
    torch.testing.assert_close(moved[0, 0], torch.tensor([10.0, 10, 50, 50]))
    torch.testing.assert_close(moved[0, 1, 2] - moved[0, 1, 0], torch.tensor(20 * 1000 / 16))
    weighted = apply_deltas(torch.tensor([[5.0, -2.5, 5 * math.log(2), 0]]), boxes, (10.0, 10.0, 5.0, 5.0))
    torch.testing.assert_close(weighted[0, 0], moved[0, 0])
    assert apply_deltas(torch.zeros(0, 8), torch.zeros(0, 4), ONES).shape == (0, 2, 4)


def test_boxes_are_clipped_and_small_ones_known() -> None:
    boxes = clip(torch.tensor([[-5.0, -5, 30, 30], [90, 10, 120, 20], [5, 5, 8, 9]]), height=25, width=100)
    assert boxes.tolist() == [[0, 0, 30, 25], [90, 10, 100, 20], [5, 5, 8, 9]]
    assert is_larger(boxes, 3).tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("size", "expected"),
    [((480, 640), (600, 800)), ((640, 480), (800, 600)), ((400, 1000), (400, 1000)), ((100, 900), (111, 1000))],
)
def test_shorter_side_is_600_unless_the_longer_exceeds_1000(size: tuple, expected: tuple) -> None:
    assert resized_shape(*size, shortest=600, longest=1000) == expected


def test_resizing_to_the_same_size_or_by_zero_changes_nothing() -> None:
    image = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    assert resize(image, height=image.shape[0], width=image.shape[1]) is image
    assert resized_shape(*image.shape[:2], shortest=0, longest=10) == image.shape[:2]


def test_box_of_224_pixels_is_pooled_from_p4() -> None:
    config = resolve(
        {"MODEL.ROI_HEADS.NAME": "StandardROIHeads", "MODEL.ROI_HEADS.IN_FEATURES": ["p2", "p3", "p4", "p5"]},
        source="a.yaml",
    )
    pooler = BoxPooler(config, {"p2": 4, "p3": 8, "p4": 16, "p5": 32})
    sides = torch.tensor([1.0, 111, 112, 223, 224, 447, 448, 5000])
    boxes = torch.stack((torch.zeros(8), torch.zeros(8), sides, sides), dim=1)
    assert pooler.assign_levels(boxes).tolist() == [2, 2, 3, 3, 4, 4, 5, 5]


def test_proposals_are_chosen_within_their_level() -> None:
    network = ProposalNetwork(resolve({}, source="a.yaml"), strides={"res4": 16}, channels={"res4": 8})
    network.num_after_nms = 3
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 11], [0, 0, 10, 11], [50, 50, 60, 60], [70, 0, 70, 9]])
    boxes = torch.cat((boxes, torch.tensor([[0, 0, math.inf, 5]])))
    logits = torch.tensor([1.0, 3, 2, 0, 9, 9])
    levels = torch.tensor([0, 0, 1, 0, 0, 0])
    found, scores = network.choose(boxes, logits, levels, height=100, width=100)
    assert scores.tolist() == [3, 2, 0]  # 0 falls to 1 in its level, 2 stands in its own; an empty and an infinite box
    assert found[0].tolist() == [0, 0, 10, 11]


def test_folding_keeps_what_a_convolution_computes() -> None:
    torch.manual_seed(0)
    layer = Convolution(4, 6, 3, norm="BN", relu=True, groups=2)
    assert layer.norm is not None
    for buffer in layer.norm.buffers():
        buffer.copy_(torch.rand_like(buffer) + 0.5)
    features = torch.randn(2, 4, 9, 9)
    with torch.no_grad():
        before = layer(features)
        fold_all(layer)
        assert layer.norm is None
        torch.testing.assert_close(layer(features), before, rtol=1e-5, atol=1e-5)


def test_features_that_the_backbone_lacks_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"names 'res5', which is not in MODEL\.RESNETS\.OUT_FEATURES"):
        FasterRCNN(resolve({"MODEL.RPN.IN_FEATURES": ["res5"]}, source="a.yaml"))
