"""Configurations of maskrcnn-benchmark: what is read of them, and what is refused by its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from vltool.detectors.faster_rcnn.config import read_config
from vltool.detectors.faster_rcnn.resize import benchmark_shape
from vltool.errors import ConfigError

VINVL = """
MODEL:
  META_ARCHITECTURE: "AttrRCNN"
  BACKBONE: {CONV_BODY: "R-50-C4"}
  RESNETS: {BACKBONE_OUT_CHANNELS: 32, STRIDE_IN_1X1: False, RES2_OUT_CHANNELS: 8}
  ROI_HEADS: {NMS_FILTER: 0}
  ROI_BOX_HEAD: {NUM_CLASSES: 6}
TEST: {IMS_PER_BATCH: 1}
"""


def test_sizes_of_maskrcnn_benchmark_are_cut_to_whole_numbers() -> None:
    assert benchmark_shape(480, 640, shortest=600, longest=1000) == (600, 800)
    assert benchmark_shape(427, 640, shortest=600, longest=1000) == (600, 899)  # 899.3
    assert benchmark_shape(640, 361, shortest=600, longest=1000) == (
        999,
        564,
    )  # round(564.06); 999.9


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("R-50-C4", "R-50-FPN", r"MODEL\.BACKBONE\.CONV_BODY = 'R-50-FPN' is not supported.*'R-152-C4'"),
        ("NMS_FILTER: 0", "NMS_FILTER: 2", r"MODEL\.ROI_HEADS\.NMS_FILTER = 2 is not supported"),
        ("NUM_CLASSES: 6", "NUM_CLASSES: 6, DROPOUT: 1", r"MODEL\.ROI_BOX_HEAD\.DROPOUT = 1 is not a key"),
        ("NUM_CLASSES: 6", "NUM_CLASSES: six", r"MODEL\.ROI_BOX_HEAD\.NUM_CLASSES = 'six', expected a value like 81"),
        ("NUM_CLASSES: 6", "NUM_CLASSES: 1", "the background counts"),
        ("OUT_CHANNELS: 32,", "OUT_CHANNELS: 1024,", "BACKBONE_OUT_CHANNELS = 1024, expected 32"),
        ("IMS_PER_BATCH: 1", "BBOX_AUG: {ENABLED: True}", r"TEST\.BBOX_AUG\.ENABLED = True is not supported"),
        ("STRIDE_IN_1X1: False", "RES5_DILATION: 2", r"MODEL\.RESNETS\.RES5_DILATION = 2 is not supported"),
    ],
)
def test_what_vinvl_does_not_have_is_refused_by_name(tmp_path: Path, old: str, new: str, message: str) -> None:
    (tmp_path / "config.yaml").write_text(VINVL.replace(old, new))
    assert old in VINVL
    with pytest.raises(ConfigError, match=message):
        read_config(tmp_path / "config.yaml")


def test_published_configuration_of_vinvl_is_read(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        "MODEL: {META_ARCHITECTURE: AttrRCNN, BACKBONE: {CONV_BODY: R-152-C4}, ATTRIBUTE_ON: True, "
        "RESNETS: {BACKBONE_OUT_CHANNELS: 1024, STRIDE_IN_1X1: False, NUM_GROUPS: 32, WIDTH_PER_GROUP: 8}, "
        "ROI_BOX_HEAD: {NUM_CLASSES: 1595}, ROI_ATTRIBUTE_HEAD: {NUM_ATTRIBUTES: 525}}\n"
    )
    config = read_config(tmp_path / "config.yaml")
    assert (config["MODEL.RESNETS.DEPTH"], config["MODEL.RESNETS.NUM_GROUPS"]) == (152, 32)
    assert (config["MODEL.ROI_HEADS.NUM_CLASSES"], config["MODEL.ROI_ATTRIBUTE_HEAD.NUM_CLASSES"]) == (1594, 524)
    assert config["MODEL.ANCHOR_GENERATOR.SIZES"] == [[32.0, 64.0, 128.0, 256.0, 512.0]]
