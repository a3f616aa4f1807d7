"""Weights from files: what is read, what is refused, and how a misfit is named."""

from __future__ import annotations

import contextlib
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from vltool.detectors import load_detector
from vltool.detectors.faster_rcnn.checkpoint import load_into, read_weights
from vltool.detectors.faster_rcnn.config import resolve
from vltool.detectors.faster_rcnn.model import FasterRCNN
from vltool.errors import CheckpointError, ConfigError

SMALL = {
    "MODEL.RESNETS.STEM_OUT_CHANNELS": 4,
    "MODEL.RESNETS.RES2_OUT_CHANNELS": 8,
    "MODEL.RESNETS.WIDTH_PER_GROUP": 2,
    "MODEL.ROI_HEADS.NUM_CLASSES": 3,
}
WEIGHT = "roi_heads.box_predictor.cls_score.weight"


@pytest.fixture
def network() -> FasterRCNN:
    return FasterRCNN(resolve(SMALL, source="small.yaml"))


@pytest.fixture
def weights(network: FasterRCNN) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {name: torch.rand_like(tensor) for name, tensor in network.state_dict().items()}


def test_pth_pkl_and_safetensors_hold_the_same(tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    torch.save({"model": weights, "iteration": 5, "scheduler": {"best": np.float64(0.5)}}, tmp_path / "a.pth")
    arrays = {name: tensor.numpy() for name, tensor in weights.items()}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"model": arrays, "__author__": "somebody"}, protocol=2))
    save_file(weights, tmp_path / "a.safetensors")
    for name in ("a.pth", "a.pkl", "a.safetensors"):
        read = read_weights(tmp_path / name)
        assert read.keys() == weights.keys()
        assert all(torch.equal(read[key], weights[key]) for key in weights), name


class Harmful:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("name", ["a.pth", "a.pkl"])
def test_pickle_with_code_is_refused_and_not_run(tmp_path: Path, name: str) -> None:
    content = {"model": {"backbone.stem.conv1.weight": Harmful(tmp_path / "harm")}}
    if name.endswith(".pth"):
        torch.save(content, tmp_path / name)
    else:
        (tmp_path / name).write_bytes(pickle.dumps(content))
    with pytest.raises(CheckpointError, match=r"holds more than arrays|not plain data"):
        read_weights(tmp_path / name)
    assert not (tmp_path / "harm").exists()


def test_missing_truncated_and_foreign_files_are_named(tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    with pytest.raises(CheckpointError, match=r"none\.pth: no such weights file"):
        read_weights(tmp_path / "none.pth")
    torch.save({"model": weights}, tmp_path / "a.pth")
    (tmp_path / "half.pth").write_bytes((tmp_path / "a.pth").read_bytes()[:3000])
    with pytest.raises(CheckpointError, match=r"half\.pth: cannot be read as weights"):
        read_weights(tmp_path / "half.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match="expected a mapping of names to arrays, found list"):
        read_weights(tmp_path / "list.pth")
    torch.save({"model": {"a": torch.ones(1)}, "matching_heuristics": True}, tmp_path / "start.pth")
    with pytest.raises(CheckpointError, match="a backbone to start a training from"):
        read_weights(tmp_path / "start.pth")
    torch.save({"model": {WEIGHT: torch.ones(1)}, "matching_heuristics": True}, tmp_path / "converted.pth")
    assert list(read_weights(tmp_path / "converted.pth")) == [WEIGHT]


@pytest.mark.parametrize("suffix", [".pth", ".pkl", ".safetensors"])
def test_empty_cut_and_changed_files_are_refused_with_a_reason(
    tmp_path: Path, weights: dict[str, torch.Tensor], suffix: str
) -> None:
    path = tmp_path / f"a{suffix}"
    path.touch()
    with pytest.raises(CheckpointError, match="an empty file"):
        read_weights(path)
    small = {name: tensor for name, tensor in weights.items() if tensor.numel() < 100}
    if suffix == ".pth":
        torch.save({"model": small}, path)
    elif suffix == ".pkl":
        path.write_bytes(pickle.dumps({"model": {name: tensor.numpy() for name, tensor in small.items()}}))
    else:
        save_file(small, path)
    whole, random = path.read_bytes(), np.random.default_rng(0)
    for _ in range(20):
        path.write_bytes(whole[: random.integers(1, len(whole))])
        with pytest.raises(CheckpointError):
            read_weights(path)
        changed = bytearray(whole)
        changed[random.integers(0, 2000)] ^= 1 + random.integers(0, 255)
        path.write_bytes(bytes(changed))
        with contextlib.suppress(CheckpointError):  # and nothing else; most bytes of a weight may be any
            read_weights(path)


def test_what_is_no_number_is_named(tmp_path: Path, network: FasterRCNN, weights: dict[str, torch.Tensor]) -> None:
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"model": {WEIGHT: np.array(["x"])}}))
    with pytest.raises(CheckpointError, match=rf"'{WEIGHT}' is a ndarray of <U1, expected"):
        read_weights(tmp_path / "a.pkl")
    torch.save({"model": {}}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="holds no weights"):
        read_weights(tmp_path / "a.pth")
    weights[WEIGHT][1, 2] = float("nan")
    with pytest.raises(CheckpointError, match=rf"parameter {WEIGHT} holds numbers that are not finite"):
        load_into(network, weights, source="a.pth")


def test_missing_misshapen_and_leftover_parameters_are_named(
    network: FasterRCNN, weights: dict[str, torch.Tensor]
) -> None:
    expected = tuple(weights[WEIGHT].shape)
    lacking = {name: tensor for name, tensor in weights.items() if name != WEIGHT}
    with pytest.raises(CheckpointError, match=rf"a\.pth: no parameter {WEIGHT}, expected with shape \(4, 64\)"):
        load_into(network, lacking, source="a.pth")
    with pytest.raises(CheckpointError, match=rf"{WEIGHT}: expected shape \(4, 64\) .*, found \(1601, 2048\)"):
        load_into(network, {**weights, WEIGHT: torch.zeros(1601, 2048)}, source="a.pth")
    with pytest.raises(CheckpointError, match=r"roi_heads\.more\.weight of shape \(2,\) has no place"):
        load_into(network, {**weights, "roi_heads.more.weight": torch.zeros(2)}, source="a.pth")
    with pytest.raises(CheckpointError, match="none of its 1 names"):
        load_into(network, {"layer1.0.conv1.weight": torch.zeros(2)}, source="a.pth")
    assert expected == (4, 64)


def test_parts_without_effect_are_let_pass_and_other_anchors_are_not(
    network: FasterRCNN, weights: dict[str, torch.Tensor]
) -> None:
    anchors = network.proposal_generator.base_anchors
    old = {
        **weights,
        "pixel_mean": torch.zeros(3, 1, 1),
        "roi_heads.mask_head.deconv.weight": torch.zeros(2),
        "backbone.stem.conv1.norm.num_batches_tracked": torch.tensor(5),
        "proposal_generator.anchor_generator.cell_anchors.0": anchors[0],
    }
    load_into(network, old, source="a.pth", anchors=anchors)
    old["proposal_generator.anchor_generator.cell_anchors.0"] = anchors[0] / 8
    with pytest.raises(CheckpointError, match=r"cell_anchors\.0 holds other anchors"):
        load_into(network, old, source="a.pth", anchors=anchors)


def test_merged_statistics_are_completed(network: FasterRCNN, weights: dict[str, torch.Tensor]) -> None:
    merged = {name: tensor for name, tensor in weights.items() if ".running_" not in name}
    load_into(network, merged, source="a.pth")
    assert network.backbone.stem.conv1.norm.running_mean.abs().max() == 0


def test_loading_names_what_is_missing(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("MODEL: {WEIGHTS: 'detectron2://COCO/model.pkl'}")
    with pytest.raises(CheckpointError, match="vltool downloads nothing"):
        load_detector(config_file=config)
    config.write_text("MODEL: {WEIGHTS: 'model.pth'}")
    with pytest.raises(CheckpointError, match=r"model\.pth.*no such file"):
        load_detector(config_file=config)
    config.write_text("MODEL: {RESNETS: {DEPTH: 50}}")
    with pytest.raises(ConfigError, match=r"MODEL\.WEIGHTS is empty"):
        load_detector(config_file=config)
    with pytest.raises(ConfigError, match="without --config-file"):
        load_detector(weights=tmp_path / "a.pth")
    with pytest.raises(ConfigError, match="choose auto, builtin, detectron2"):
        load_detector("caffe")


def test_names_must_fit_and_precision_must_exist(tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("\n".join(f"{key}: {value}" for key, value in SMALL.items()))
    lines = ["MODEL:", "  RESNETS: {STEM_OUT_CHANNELS: 4, RES2_OUT_CHANNELS: 8, WIDTH_PER_GROUP: 2}"]
    config.write_text("\n".join([*lines, "  ROI_HEADS: {NUM_CLASSES: 3}", "  WEIGHTS: model.safetensors"]))
    save_file(weights, tmp_path / "model.safetensors")
    assert load_detector(config_file=config).class_names == ()
    (tmp_path / "classes.json").write_text('{"classes": ["cat", "dog", "cow"], "attributes": []}')
    assert load_detector(config_file=config).class_names == ("cat", "dog", "cow")
    (tmp_path / "classes.json").write_text('{"classes": ["cat"]}')
    with pytest.raises(ConfigError, match="1 names of classes, but the detector's configuration has 3"):
        load_detector(config_file=config)
    (tmp_path / "classes.json").unlink()
    with pytest.raises(ConfigError, match="choose auto, float32, bfloat16"):
        load_detector(config_file=config, precision="float64")
