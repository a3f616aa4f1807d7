"""Reading detectron2's configuration files: parents, dumps, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from vltool.detectors.faster_rcnn.config import DetectorConfig, read_config
from vltool.errors import ConfigError


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def read(folder: Path, text: str) -> DetectorConfig:
    return read_config(write(folder / "config.yaml", text))


def test_missing_keys_have_detectron2_defaults(tmp_path: Path) -> None:
    config = read(tmp_path, "MODEL: {RESNETS: {DEPTH: 101}}")
    assert config["MODEL.RESNETS.DEPTH"] == 101
    assert config["MODEL.RPN.POST_NMS_TOPK_TEST"] == 1000
    assert config["INPUT.MAX_SIZE_TEST"] == 1333
    assert not config.is_pyramid and config.has_res5_head


def test_base_is_read_first_relative_to_the_file_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    write(tmp_path / "base" / "grand.yaml", "MODEL: {RESNETS: {DEPTH: 152}, ROI_HEADS: {NUM_CLASSES: 5}}")
    write(tmp_path / "base" / "parent.yaml", "_BASE_: grand.yaml\nMODEL: {ROI_HEADS: {NUM_CLASSES: 1600}}")
    config = read(tmp_path, "_BASE_: base/parent.yaml\nINPUT: {MIN_SIZE_TEST: 600}")
    assert (config["MODEL.RESNETS.DEPTH"], config["MODEL.ROI_HEADS.NUM_CLASSES"]) == (152, 1600)
    assert config["INPUT.MIN_SIZE_TEST"] == 600


def test_dump_with_anchors_and_tuples_in_both_spellings(tmp_path: Path) -> None:
    config = read(
        tmp_path,
        "MODEL:\n"
        "  ROI_BOX_HEAD: {BBOX_REG_WEIGHTS: &w [5.0, 5.0, 2.0, 2.0]}\n"
        "  RPN: {BBOX_REG_WEIGHTS: *w}\n"
        "  PIXEL_MEAN: !!python/tuple [1, 2, 3]\n"
        "INPUT: {MIN_SIZE_TRAIN: '(600,)'}\n"
        "SOLVER: {STEPS: (60, 80), WHATEVER: 1}\n",
    )
    assert config["MODEL.RPN.BBOX_REG_WEIGHTS"] == [5.0, 5.0, 2.0, 2.0]
    assert config["MODEL.PIXEL_MEAN"] == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("MODEL: {META_ARCHITECTURE: RetinaNet}", r"MODEL.META_ARCHITECTURE = 'RetinaNet' is not supported"),
        ("MODEL: {RESNETS: {NORM: GN}}", r"MODEL.RESNETS.NORM = 'GN'"),
        ("MODEL: {RESNETS: {DEFORM_ON_PER_STAGE: [False, False, True, True]}}", "DEFORM_ON_PER_STAGE"),
        ("MODEL: {ROI_HEADS: {NAME: CascadeROIHeads}}", "CascadeROIHeads.*--backend detectron2"),
        ("MODEL: {SOFTER_POOL: True}", "MODEL.SOFTER_POOL = True is not a key"),
        ("MODEL: {RPN: {NMS_TRESH: 0.6}}", "MODEL.RPN.NMS_TRESH = 0.6 is not a key"),
        ("VERSION: 1", "VERSION = 1"),
        ("TEST: {AUG: {ENABLED: True}}", "TEST.AUG.ENABLED = True"),
        ("MODEL: {RPN: {NMS_THRESH: high}}", "MODEL.RPN.NMS_THRESH = 'high', expected a value like 0.7"),
        ("MODEL: {ATTRIBUTE_ON: True}", "MODEL.ATTRIBUTE_ON = True needs"),
        ("MODEL: {ANCHOR_GENERATOR: {SIZES: [[32], [64]]}}", "2 lists for the 1 levels"),
        ("_BASE_: nowhere.yaml", "nowhere.yaml: cannot read.*named by _BASE_"),
        ("_BASE_: config.yaml", "_BASE_ leads back"),
        ("_BASE_: https://example.org/a.yaml", "downloads nothing"),
        ("- a\n- b", "expected a mapping"),
        ("a: [", "not a YAML file"),
        ("a: !!python/object/apply:os.system ['true']", "asks for Python code to be run"),
    ],
)
def test_what_cannot_be_reproduced_is_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a mapping .*found NoneType"),
        ("MODEL: 5", "MODEL = 5 is not a key"),
        ("MODEL: {RESNETS: 50}", "MODEL.RESNETS = 50 is not a key"),
        ("MODEL: {1: 2}", "1 = 2, expected keys that are names"),
        ("a: &a {b: *a}", "a section contains itself"),
        ("_BASE_: 5", "_BASE_ = 5, expected the name of a file"),
        ("_BASE_: [{a: 1}]", "_BASE_ = .*expected the name of a file"),
        ("MODEL: {RPN: {NMS_THRESH: .nan}}", "MODEL.RPN.NMS_THRESH = nan, expected a value like 0.7"),
        ("MODEL: {RPN: {POST_NMS_TOPK_TEST: true}}", "POST_NMS_TOPK_TEST = True, expected a value like 1000"),
        ("MODEL: {RPN: {POST_NMS_TOPK_TEST: 0}}", "POST_NMS_TOPK_TEST = 0: needs to be at least 1"),
        ("MODEL: {ROI_HEADS: {NUM_CLASSES: -3}}", "NUM_CLASSES = -3: needs to be at least 1, found -3"),
        ("MODEL: {ROI_HEADS: {NUM_CLASSES: 10000000000}}", "NUM_CLASSES = 10000000000, expected a value like 80"),
        ("MODEL: {PIXEL_STD: [1, 1, 0]}", "PIXEL_STD = .*needs to be more than 0, found 0.0"),
        ("MODEL: {PIXEL_MEAN: [1, 2]}", "PIXEL_MEAN = .*expected 3 numbers"),
        ("MODEL: {PIXEL_MEAN: [1, 2, three]}", "PIXEL_MEAN = 'three', expected a value like 103.53"),
        ("MODEL: {ANCHOR_GENERATOR: {SIZES: [[]]}}", "SIZES = .*expected at least one"),
        ("MODEL: {ANCHOR_GENERATOR: {OFFSET: 1.5}}", "OFFSET = 1.5: a share of the stride"),
        ("MODEL: {RESNETS: {DEFORM_ON_PER_STAGE: 5}}", "DEFORM_ON_PER_STAGE = 5 is not supported"),
        ("MODEL: {BACKBONE: {NAME: build_resnet_fpn_backbone}, FPN: {IN_FEATURES: [res2, res4]}}", "consecutive ones"),
        ("MODEL: {CAFFE_MAXPOOL: 'no'}", "MODEL.CAFFE_MAXPOOL = 'no', expected a value like False"),
        ("MODEL: {BUA: {RESNET_VERSION: 3}}", "MODEL.BUA.RESNET_VERSION = 3"),
        ("MODEL: {BUA: {SOFTER: 3}}", "MODEL.BUA.SOFTER = 3 is not a key"),
        (
            "MODEL: {BUA: {CAFFE: True}, ROI_HEADS: {NAME: StandardROIHeads}}",
            "NAME = 'StandardROIHeads' beside MODEL.BUA",
        ),
        ("CAFFE: {BOXES: True}", "CAFFE.BOXES = True is not a key"),
    ],
)
def test_values_that_no_network_can_have_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, text)


def test_config_reads_every_golden_dump(golden: Path) -> None:
    config = read_config(golden / "config.yaml")
    assert config["MODEL.ROI_HEADS.NUM_CLASSES"] == 12
