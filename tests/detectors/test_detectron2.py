"""detectron2 itself and the built-in runner give the same regions. Needs detectron2, which is optional."""

from __future__ import annotations

import importlib.util
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file

from vltool.detectors import load_detector
from vltool.detectors.faster_rcnn.config import read_config
from vltool.detectors.faster_rcnn.model import FasterRCNN
from vltool.detectors.selection import RECIPES, Recipe, select
from vltool.errors import CheckpointError, ConfigError
from vltool.structures import ImageId

HAS_DETECTRON2 = importlib.util.find_spec("detectron2") is not None


@pytest.mark.skipif(HAS_DETECTRON2, reason="detectron2 is installed")
def test_missing_detectron2_is_a_configuration_error_that_says_how_to_get_it(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("MODEL: {WEIGHTS: model.pth}")
    (tmp_path / "model.pth").touch()
    with pytest.raises(ConfigError, match=r"pip install --no-build-isolation \./detectron2"):
        load_detector("detectron2", config_file=tmp_path / "config.yaml")


@pytest.mark.skipif(HAS_DETECTRON2, reason="detectron2 is installed")
def test_auto_takes_the_builtin_runner_without_detectron2_and_says_so(tmp_path: Path) -> None:
    said: list[str] = []
    detector = load_detector("auto", **write_detector(tmp_path, NARROW), say=said.append)
    assert detector.backend == "builtin"
    assert said == ["backend builtin: detectron2 is not installed"]


def test_auto_takes_detectron2_where_it_can_be_imported(tmp_path: Path) -> None:
    pytest.importorskip("detectron2")
    said: list[str] = []
    files = write_detector(tmp_path, NARROW)
    assert load_detector("auto", **files, device="cpu", say=said.append).backend == "detectron2"
    assert load_detector("auto", **files, device="cpu", precision="bfloat16", say=said.append).backend == "builtin"
    assert said == [
        "backend detectron2: it is installed and runs this detector",
        "backend builtin: detectron2 computes in float32 only",
    ]


@pytest.mark.parametrize("key", ["MODEL.CAFFE_MAXPOOL", "MODEL.BUA.RESNET_VERSION"])
def test_auto_takes_the_builtin_runner_for_rules_that_detectron2_does_not_have(key: str, tmp_path: Path) -> None:
    pytest.importorskip("detectron2")
    said: list[str] = []
    files = write_detector(tmp_path, {**NARROW, key: 1 if "BUA" in key else True})
    assert load_detector("auto", **files, device="cpu", say=said.append).backend == "builtin"
    assert re.match(r"backend builtin: detectron2 cannot run this detector: .*config key: MODEL\.", said[0])
    assert len(said) == 1


def test_detectron2_runs_no_code_in_a_configuration_and_checks_weights_as_we_do(tmp_path: Path) -> None:
    pytest.importorskip("detectron2")
    (tmp_path / "model.pth").touch()
    harm = tmp_path / "harm"
    (tmp_path / "config.yaml").write_text(f"MODEL: !!python/object/apply:os.mkdir ['{harm}']")
    files = {"config_file": tmp_path / "config.yaml", "weights": tmp_path / "model.pth"}
    with pytest.raises(ConfigError, match="asks for Python code to be run"):
        load_detector("detectron2", **files)
    assert not harm.exists()
    for text, message in (
        ("VERSION: 1", "VERSION = 1: only 2 is read"),
        ("MODEL: {RPN: {NMS_THRESH: high}}", "detectron2 refuses this configuration"),
        (
            "MODEL: {META_ARCHITECTURE: RetinaNet, RPN: {NMS_TRESH: 1.0}}",
            "Non-existent config key: MODEL.RPN.NMS_TRESH",
        ),
        ("MODEL: {ROI_HEADS: {NAME: Nobody}}", "detectron2 cannot build this network"),
    ):
        (tmp_path / "config.yaml").write_text(text)
        with pytest.raises(ConfigError, match=message):
            load_detector("detectron2", **files)
    files = write_detector(tmp_path, NARROW)
    weights = load_file(files["weights"])
    anchors = {"proposal_generator.anchor_generator.cell_anchors.0": torch.ones(15, 4)}
    for broken, message in (
        ({**weights, "roi_heads.more": torch.ones(1)}, "parameter roi_heads.more of shape"),
        ({**weights, **anchors}, "holds other anchors than"),
        ({name: tensor for name, tensor in weights.items() if "bbox_pred" not in name}, "no parameter roi_heads.box"),
    ):
        save_file(broken, files["weights"])
        for backend in ("detectron2", "builtin"):
            with pytest.raises(CheckpointError, match=message):
                load_detector(backend, **files, device="cpu")


def test_both_backends_agree(golden: Path) -> None:
    pytest.importorskip("detectron2")
    image = np.asarray(Image.open(golden / "image.png").convert("RGB"))
    files = {"config_file": golden / "config.yaml", "weights": golden / "model.pth", "device": "cpu"}
    ours = load_detector("builtin", precision="float32", **files)
    theirs = load_detector("detectron2", **files)
    assert ours.feature_dim == theirs.feature_dim
    for name in RECIPES:
        recipe = Recipe(name)
        if name == "given-boxes":
            boxes = np.array([[5, 5, 60, 60], [0, 0, image.shape[1], image.shape[0]]], dtype=np.float32)
            found, expected = ours.detect_at(image, boxes), theirs.detect_at(image, boxes)
        else:
            found, expected = ours.detect(image), theirs.detect(image)
        ours_kept, theirs_kept = (select(recipe, each, ImageId("file:a")) for each in (found, expected))
        np.testing.assert_allclose(ours_kept.boxes, theirs_kept.boxes, atol=0.01)
        np.testing.assert_array_equal(ours_kept.classes, theirs_kept.classes)
        largest = np.abs(theirs_kept.features).max()
        assert np.abs(ours_kept.features - theirs_kept.features).max() <= 1e-4 * largest


DILATED = {
    "MODEL.RESNETS.OUT_FEATURES": ["res5"],
    "MODEL.RESNETS.RES5_DILATION": 2,
    "MODEL.RPN.IN_FEATURES": ["res5"],
    "MODEL.ROI_HEADS.NAME": "StandardROIHeads",
    "MODEL.ROI_HEADS.IN_FEATURES": ["res5"],
    "MODEL.ROI_BOX_HEAD.NAME": "FastRCNNConvFCHead",
    "MODEL.ROI_BOX_HEAD.NUM_FC": 2,
    "MODEL.ROI_BOX_HEAD.FC_DIM": 64,
    "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION": 7,
}
PYRAMID = {
    "MODEL.BACKBONE.NAME": "build_resnet_fpn_backbone",
    "MODEL.RESNETS.OUT_FEATURES": ["res3", "res4", "res5"],
    "MODEL.FPN.IN_FEATURES": ["res3", "res4", "res5"],
    "MODEL.FPN.OUT_CHANNELS": 32,
    "MODEL.RPN.IN_FEATURES": ["p3", "p4", "p5", "p6"],
    "MODEL.ANCHOR_GENERATOR.SIZES": [[32], [64], [128], [256]],
    "MODEL.ROI_HEADS.NAME": "StandardROIHeads",
    "MODEL.ROI_HEADS.IN_FEATURES": ["p3", "p4", "p5"],
    "MODEL.ROI_BOX_HEAD.NAME": "FastRCNNConvFCHead",
    "MODEL.ROI_BOX_HEAD.NUM_FC": 1,
    "MODEL.ROI_BOX_HEAD.FC_DIM": 64,
    "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION": 7,
}
VARIANTS = {
    "dilated": DILATED,
    "roi_pool": {"MODEL.ROI_BOX_HEAD.POOLER_TYPE": "ROIPool"},
    "roi_align_v1": {"MODEL.ROI_BOX_HEAD.POOLER_TYPE": "ROIAlign", "MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO": 2},
    "one_box_for_all_classes": {"MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG": True},
    "deep_res101": {"MODEL.RESNETS.DEPTH": 101, "MODEL.RESNETS.NORM": "BN", "TEST.DETECTIONS_PER_IMAGE": -1},
    "pyramid_offset": {**PYRAMID, "MODEL.ANCHOR_GENERATOR.OFFSET": 0.5, "MODEL.RPN.CONV_DIMS": [-1, 24]},
    "pyramid_average": {**PYRAMID, "MODEL.FPN.FUSE_TYPE": "avg", "MODEL.FPN.NORM": "BN", "INPUT.FORMAT": "RGB"},
    "pyramid_convolutions": {
        **PYRAMID,
        "MODEL.ROI_BOX_HEAD.NUM_CONV": 2,
        "MODEL.ROI_BOX_HEAD.CONV_DIM": 16,
        "MODEL.PROPOSAL_GENERATOR.MIN_SIZE": 20,
    },
}
NARROW = {
    "INPUT.MIN_SIZE_TEST": 160,
    "INPUT.MAX_SIZE_TEST": 266,
    "MODEL.RESNETS.STEM_OUT_CHANNELS": 8,
    "MODEL.RESNETS.RES2_OUT_CHANNELS": 16,
    "MODEL.RESNETS.WIDTH_PER_GROUP": 4,
    "MODEL.RPN.POST_NMS_TOPK_TEST": 60,
    "MODEL.ROI_HEADS.NUM_CLASSES": 12,
}


def write_detector(folder: Path, values: dict) -> dict[str, Path]:
    """A configuration and random weights for it, scaled so that nothing explodes on the way up."""
    nested: dict = {}
    for key, value in values.items():
        *sections, name = key.split(".")
        place = nested
        for section in sections:
            place = place.setdefault(section, {})
        place[name] = value
    (folder / "config.yaml").write_text(yaml.safe_dump(nested))
    torch.manual_seed(1)
    weights = FasterRCNN(read_config(folder / "config.yaml")).state_dict()
    for name, tensor in weights.items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
        elif name.endswith(("norm.bias", "running_mean")):
            tensor.normal_(0, 0.1)
        elif name.endswith(("conv3.norm.weight", "stem.conv1.norm.weight")):
            tensor.fill_(0.2 if "conv3" in name else 0.02)
        elif "cls_score" in name or "bbox_pred" in name:
            tensor.normal_(0, 0.5)
        elif "conv" in name and tensor.dim() == 4:
            torch.nn.init.kaiming_normal_(tensor)
    save_file(weights, folder / "model.safetensors")
    return {"config_file": folder / "config.yaml", "weights": folder / "model.safetensors"}


@pytest.mark.parametrize("variant", VARIANTS)
def test_both_backends_agree_on_what_the_reference_numbers_leave_out(variant: str, tmp_path: Path) -> None:
    pytest.importorskip("detectron2")
    files = write_detector(tmp_path, {**NARROW, **VARIANTS[variant]})
    image = np.random.default_rng(0).integers(0, 255, (24, 32, 3), np.uint8).repeat(10, axis=0).repeat(10, axis=1)
    ours = load_detector("builtin", device="cpu", precision="float32", **files).detect(image)
    theirs = load_detector("detectron2", device="cpu", **files).detect(image)
    assert theirs.num_regions > 10
    np.testing.assert_allclose(ours.proposal_boxes, theirs.proposal_boxes, atol=0.01)
    assert np.abs(ours.features - theirs.features).max() <= 1e-4 * np.abs(theirs.features).max()
    np.testing.assert_array_equal(ours.final_rows, theirs.final_rows)
    np.testing.assert_array_equal(ours.final_classes, theirs.final_classes)
    np.testing.assert_allclose(ours.regressed_boxes, theirs.regressed_boxes, atol=0.01)


def test_detector_survives_pickling(golden: Path) -> None:
    pytest.importorskip("detectron2")
    detector = load_detector(
        "detectron2", config_file=golden / "config.yaml", weights=golden / "model.pth", device="cpu"
    )
    copy = pickle.loads(pickle.dumps(detector))
    assert copy.fingerprint == detector.fingerprint
