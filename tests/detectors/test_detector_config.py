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


def test_config_reads_every_golden_dump(golden: Path) -> None:
    config = read_config(golden / "config.yaml")
    assert config["MODEL.ROI_HEADS.NUM_CLASSES"] == 12
