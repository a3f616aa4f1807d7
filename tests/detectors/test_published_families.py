"""The runner agrees with the published families of `published_families.py`, computed plainly in float64."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.detectors.published_families import CLASSES, FAMILIES, VINVL, VinVL, suppress, vinvl_weights
from vltool.detectors import load_detector
from vltool.detectors.detector import Detections
from vltool.detectors.selection import Recipe, select
from vltool.errors import CheckpointError, ConfigError
from vltool.structures import ImageId


@pytest.fixture
def image() -> np.ndarray:
    random = np.random.default_rng(5)
    image = np.full((64, 80, 3), 90.0)
    for _ in range(12):
        x, y = random.integers(0, 70), random.integers(0, 55)
        image[y : y + 25, x : x + 30] = random.integers(0, 255, 3)
    return np.clip(image + random.normal(0, 5, image.shape), 0, 255).astype(np.uint8)


def write(folder: Path, text: str, weights: dict[str, Tensor]) -> dict[str, Path]:
    (folder / "config.yaml").write_text(text)
    torch.save({"model": weights, "iteration": 5}, folder / "model.pth")
    return {"config_file": folder / "config.yaml", "weights": folder / "model.pth"}


def detect(files: dict[str, Path], image: np.ndarray, **options: object) -> Detections:
    return load_detector("builtin", device="cpu", **({"precision": "float32"} | options), **files).detect(image)


@pytest.mark.parametrize("fold", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_family_agrees_with_a_plain_network(tmp_path: Path, image: np.ndarray, family: str, fold: bool) -> None:
    text, make_weights, network = FAMILIES[family]
    weights = make_weights()
    found = detect(write(tmp_path, text, weights), image, fold=fold)
    expected = network(weights).run(image)
    assert found.num_regions == len(expected["proposal_boxes"]) > 3
    for name, values in expected.items():
        tolerance = 0.01 if "boxes" in name else 1e-4 * np.abs(values).max()
        np.testing.assert_allclose(getattr(found, name), values, atol=tolerance, rtol=0, err_msg=name)


@pytest.mark.parametrize("family", FAMILIES)
def test_family_in_bfloat16_stays_near(tmp_path: Path, image: np.ndarray, family: str) -> None:
    text, make_weights, network = FAMILIES[family]
    weights = make_weights()
    files = write(tmp_path, text, weights)
    boxes = network(weights).run(image)["proposal_boxes"].astype(np.float32)
    exact, rounded = (
        load_detector("builtin", device="cpu", precision=precision, **files).detect_at(image, boxes).features
        for precision in ("float32", "bfloat16")
    )
    assert np.corrcoef(exact.ravel(), rounded.ravel())[0, 1] > 0.995


@pytest.mark.parametrize("ignored", [False, True])
def test_detections_of_vinvl_follow_its_filters(tmp_path: Path, image: np.ndarray, ignored: bool) -> None:
    """NMS_FILTER 1 keeps regions by their best surviving class, 0 pairs of region and class, both at least 3."""
    weights = vinvl_weights()
    text = VINVL.replace("IGNORE_BOX_REGRESSION: False", f"IGNORE_BOX_REGRESSION: {ignored}")
    plain = VinVL(weights).run(image)
    factors = np.array([80 / 112, 64 / 90] * 2)
    boxes = np.repeat(plain["proposal_boxes"][:, None], CLASSES, axis=1) if ignored else plain["regressed_boxes"]
    probabilities = plain["class_probabilities"][:, :-1]

    kept = detect(write(tmp_path, text.replace("NMS_FILTER: 0", "NMS_FILTER: 1"), weights), image)
    best: dict[int, tuple[float, int]] = {}
    for label in range(CLASSES):
        order = [int(index) for index in np.argsort(-probabilities[:, label], kind="stable")]
        for row in suppress(boxes[:, label] / factors, order, 0.3, 0.0):
            best[row] = max(best.get(row, (0.0, 0)), (float(probabilities[row, label]), label))
    ranked = sorted(((score, row, label) for row, (score, label) in best.items()), reverse=True)
    count = max(3, min(8, sum(score >= 0.2 for score, _, _ in ranked)))
    expected = [(row, label) for _, row, label in ranked[:count]]
    assert list(zip(kept.final_rows.tolist(), kept.final_classes.tolist(), strict=True)) == expected
    assert kept.regressed_boxes.shape[1] == (1 if ignored else CLASSES)
    if ignored:  # the published features: what the recipe gives as well
        for recipe in (Recipe("detections"), Recipe("bottom-up", min_boxes=3, max_boxes=8)):
            regions = select(recipe, kept, ImageId("file:a"))
            np.testing.assert_allclose(regions.boxes, plain["proposal_boxes"][[row for row, _ in expected]], atol=0.01)
            np.testing.assert_array_equal(regions.classes, [label for _, label in expected])

    pairs = detect(write(tmp_path, text.replace("SCORE_THRESH: 0.2", "SCORE_THRESH: 0.9"), weights), image)
    threshold, found = 0.9, []
    for _ in range(11):
        found = []
        for label in range(CLASSES):
            order = [int(i) for i in np.argsort(-probabilities[:, label]) if probabilities[i, label] > threshold]
            kept_rows = suppress(boxes[:, label] / factors, order, 0.5, 0.0)
            found += [(float(probabilities[row, label]), row, label) for row in kept_rows]
        if len(found) >= 3:
            break
        threshold /= 2
    expected = [(row, label) for _, row, label in sorted(found, reverse=True)][:8]
    assert list(zip(pairs.final_rows.tolist(), pairs.final_classes.tolist(), strict=True)) == expected


@pytest.mark.parametrize(
    ("family", "name"),
    [
        ("vinvl", "module.backbone.body.layer3.5.bn2.running_mean"),
        ("vinvl", "module.roi_heads.box.feature_extractor.head.layer4.0.downsample.1.bias"),
        ("vinvl", "module.attribute.predictor.fc_attr.weight"),
        ("r152", "backbone.res3.2.conv3.norm.bias"),
        ("r152", "roi_heads.res5.0.norm.weight"),
        ("r152", "backbone.stem.conv1.norm.bias"),
    ],
)
def test_misfits_are_called_as_in_the_file(tmp_path: Path, family: str, name: str) -> None:
    text, make_weights, _ = FAMILIES[family]
    weights = make_weights()
    lacking = {
        key: tensor
        for key, tensor in weights.items()
        if key != name and key != name.replace("roi_heads.box.", "attribute.")
    }
    with pytest.raises(CheckpointError, match=rf"no parameter {name}, expected with shape"):
        load_detector("builtin", **write(tmp_path, text, lacking))
    with pytest.raises(CheckpointError, match=rf"parameter {name}\.more of shape .* has no place in the network"):
        load_detector("builtin", **write(tmp_path, text, {**weights, f"{name}.more": weights[name]}))


def test_attributes_with_features_of_their_own_are_refused(tmp_path: Path) -> None:
    weights = vinvl_weights()
    name = "module.attribute.feature_extractor.head.layer4.1.conv1.weight"
    weights[name] = weights[name] + 1
    with pytest.raises(CheckpointError, match=r"layer4\.1\.conv1\.weight is not that of roi_heads\.box"):
        load_detector("builtin", **write(tmp_path, VINVL, weights))


def test_names_in_the_published_map_of_labels(tmp_path: Path, image: np.ndarray) -> None:
    labels = {name: number for number, name in enumerate(("yolk", "goal", "bathroom", "macaroni", "umpire"), start=1)}
    attributes = {name: number for number, name in enumerate(("nuclear", "first", "sparse", "dried"), start=1)}
    content = {"label_to_idx": dict(reversed(labels.items())), "attribute_to_idx": attributes}
    (tmp_path / "VG-SGG-dicts-vgoi6-clipped.json").write_text(json.dumps(content))
    detector = load_detector("builtin", **write(tmp_path, VINVL, vinvl_weights()))
    assert detector.class_names == tuple(labels) and detector.attribute_names == tuple(attributes)
    content["label_to_idx"]["goal"] = 7
    (tmp_path / "VG-SGG-dicts-vgoi6-clipped.json").write_text(json.dumps(content))
    with pytest.raises(ConfigError, match="label_to_idx numbers 5 names, expected 1 to 5"):
        load_detector("builtin", **write(tmp_path, VINVL, vinvl_weights()))
