"""The detector as detectron2 builds and runs it: config, weights, and what it says of one picture."""

from pathlib import Path

import numpy as np
import torch
from attributes import add_attribute_config
from detectron2.config import CfgNode, get_cfg
from detectron2.data.transforms import ResizeShortestEdge
from detectron2.modeling import build_model
from safetensors.torch import load_file
from torch import Tensor, nn


def read_config(path: Path, overrides: list[str] | None = None) -> CfgNode:
    """detectron2's default config with the attribute head's keys, the file's values and the overrides."""
    cfg = get_cfg()
    add_attribute_config(cfg)
    cfg.merge_from_file(str(path))
    cfg.merge_from_list(overrides or [])
    return cfg


def load_detector(folder: Path) -> tuple[nn.Module, CfgNode]:
    """The detector of a folder with config.yaml and model.safetensors, ready to describe pictures."""
    cfg = read_config(folder / "config.yaml")
    model = build_model(cfg).eval()
    weights = load_file(folder / "model.safetensors")
    counters = {name for name in model.state_dict() if name.endswith("num_batches_tracked")}
    model.load_state_dict(weights | {name: torch.tensor(0) for name in counters})
    return model, cfg


def resize(picture_bgr: np.ndarray, cfg: CfgNode) -> np.ndarray:
    """The picture at the size the detector sees it, (h, w, 3) uint8."""
    transform = ResizeShortestEdge(cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST).get_transform(picture_bgr)
    return transform.apply_image(picture_bgr)


@torch.no_grad()
def describe(model: nn.Module, resized_bgr: np.ndarray, *, height: int, width: int) -> dict[str, Tensor]:
    """Proposals in the resized frame with what the heads say of them, and detections in the original's pixels."""
    pixels = torch.as_tensor(np.ascontiguousarray(resized_bgr.transpose(2, 0, 1)), dtype=torch.float32)
    inputs = [{"image": pixels, "height": height, "width": width}]
    images = model.preprocess_image(inputs)
    features = model.backbone(images.tensor)
    proposals, _ = model.proposal_generator(images, features)
    said = model.roi_heads.describe(features, proposals)
    found = model(inputs)[0]["instances"]
    return said | {
        "proposal_boxes": proposals[0].proposal_boxes.tensor,
        "proposal_logits": proposals[0].objectness_logits,
        "detection_boxes": found.pred_boxes.tensor,
        "detection_scores": found.scores,
        "detection_classes": found.pred_classes,
    }
