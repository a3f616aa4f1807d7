"""detectron2's own networks as a Detector, through its public interface. Nothing else in vltool imports detectron2.

For configurations that the built-in runner refuses, such as deformable convolutions, and for comparing the two. The
model needs one proposal network and one box head that gives features and a class prediction; cascades have several.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vltool.detectors.detector import Detections, check_boxes, check_image, fingerprint_of
from vltool.detectors.faster_rcnn.boxes import clip, scale
from vltool.detectors.faster_rcnn.checkpoint import ANCHORS, IGNORED_PREFIXES, IGNORED_SUFFIXES, read_weights
from vltool.detectors.faster_rcnn.heads import AttributeHead
from vltool.detectors.names import check_names
from vltool.detectors.precision import full_float32
from vltool.errors import CheckpointError, ConfigError

HOW_TO_GET = (
    "detectron2 is not installed here. It has no wheels: fetch its source (github.com/facebookresearch/detectron2) "
    "and run: pip install --no-build-isolation ./detectron2. It is optional; --backend builtin needs only torchvision"
)
ATTRIBUTE_PREFIX = "roi_heads.attribute_predictor."


class Detectron2Detector:
    """A detectron2 model with its weights, as a Detector."""

    backend = "detectron2"
    precision = "float32"

    def __init__(
        self,
        model: Any,
        cfg: Any,
        *,
        attributes: AttributeHead | None,
        fingerprint: str,
        class_names: tuple[str, ...],
        attribute_names: tuple[str, ...],
        origin: tuple[Any, ...],
    ) -> None:
        """model, cfg: detectron2's GeneralizedRCNN and CfgNode.

        origin: the arguments of `load_detectron2` that give this detector again.
        """
        from detectron2.data import transforms

        self.model = model
        self.cfg = cfg
        self.heads = model.roi_heads
        self.attributes = attributes
        self.name = f"{cfg.MODEL.META_ARCHITECTURE} {cfg.MODEL.ROI_HEADS.NAME}"
        self.feature_dim = int(self.heads.box_predictor.cls_score.in_features)
        self.num_parameters = sum(parameter.numel() for parameter in model.parameters())
        self.fingerprint = fingerprint
        self.class_names = class_names
        self.attribute_names = attribute_names
        self._resize = transforms.ResizeShortestEdge([cfg.INPUT.MIN_SIZE_TEST] * 2, cfg.INPUT.MAX_SIZE_TEST)
        self._origin = origin

    def __reduce__(self) -> tuple[Any, ...]:
        return load_detectron2, self._origin

    def detect(self, image: np.ndarray) -> Detections:
        with torch.inference_mode(), full_float32(self.model.device):
            images, maps = self.feature_maps(check_image(image))
            (proposals,), _ = self.model.proposal_generator(images, maps, None)
            return self.detections(maps, proposals, image)

    def detect_at(self, image: np.ndarray, boxes: np.ndarray) -> Detections:
        from detectron2.structures import Boxes, Instances

        boxes = check_boxes(boxes, height=image.shape[0], width=image.shape[1])
        with torch.inference_mode(), full_float32(self.model.device):
            images, maps = self.feature_maps(check_image(image))
            (size,) = images.image_sizes  # height, width
            resized = scale(torch.from_numpy(boxes), size[1] / image.shape[1], size[0] / image.shape[0])
            given = Instances(size, proposal_boxes=Boxes(resized.to(images.tensor.device)))
            return self.detections(maps, given, image, given=boxes)

    def detect_batch(self, images: Sequence[np.ndarray], boxes: Sequence[np.ndarray] | None) -> list[Detections]:
        if boxes is None:
            return [self.detect(image) for image in images]
        return [self.detect_at(image, given) for image, given in zip(images, boxes, strict=True)]

    @property
    def device(self) -> str:
        return str(self.model.device.type)

    def describe(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "backend": self.backend,
            "fingerprint": self.fingerprint,
            "precision": self.precision,
            "feature_dim": self.feature_dim,
            "config": self.cfg.dump(),
            "class_names": list(self.class_names),
            "attribute_names": list(self.attribute_names),
        }

    def feature_maps(self, image: np.ndarray) -> tuple[Any, dict[str, Tensor]]:
        """detectron2's ImageList of one resized picture, and the backbone's maps by name."""
        ordered = image[:, :, ::-1] if self.cfg.INPUT.FORMAT == "BGR" else image
        resized = self._resize.get_transform(ordered).apply_image(np.ascontiguousarray(ordered))
        tensor = torch.as_tensor(resized.astype("float32").transpose(2, 0, 1))
        images = self.model.preprocess_image([{"image": tensor}])
        return images, self.model.backbone(images.tensor)

    def box_features(self, maps: dict[str, Tensor], boxes: Any) -> Tensor:
        """(P, D) what the box predictor sees of boxes in the resized frame."""
        if hasattr(self.heads, "res5"):
            pooled = self.heads.pooler([maps[name] for name in self.heads.in_features], [boxes])
            return self.heads.res5(pooled).mean(dim=[2, 3])
        pooled = self.heads.box_pooler([maps[name] for name in self.heads.box_in_features], [boxes])
        return self.heads.box_head(pooled)

    def detections(
        self, maps: dict[str, Tensor], proposals: Any, image: np.ndarray, *, given: np.ndarray | None = None
    ) -> Detections:
        """What the heads say of detectron2's Instances with proposal_boxes, in pixels of the original picture."""
        predictor = self.heads.box_predictor
        features = self.box_features(maps, proposals.proposal_boxes)
        predictions = predictor(features)
        (probabilities,) = predictor.predict_probs(predictions, [proposals])
        (regressed,) = predictor.predict_boxes(predictions, [proposals])
        (instances,), (rows,) = predictor.inference(predictions, [proposals])
        height, width = image.shape[:2]
        resized_height, resized_width = proposals.image_size
        factors = width / resized_width, height / resized_height

        def original(boxes: Tensor) -> np.ndarray:
            boxes = clip(boxes, height=resized_height, width=resized_width)
            return clip(scale(boxes, *factors), height=height, width=width).cpu().numpy()

        kept = instances.pred_boxes.nonempty()
        attributes = None
        if self.attributes is not None:
            attributes = self.attributes(features, predictions[0].argmax(dim=1)).softmax(dim=1).cpu().numpy()
        return Detections(
            proposal_boxes=original(proposals.proposal_boxes.tensor) if given is None else given,
            features=features.float().cpu().numpy(),
            class_probabilities=probabilities.cpu().numpy(),
            regressed_boxes=original(regressed.reshape(len(regressed), regressed.shape[1] // 4, 4)),
            final_rows=rows[kept].cpu().numpy(),
            final_classes=instances.pred_classes[kept].cpu().numpy(),
            height=height,
            width=width,
            proposal_logits=proposals.objectness_logits.cpu().numpy() if given is None else None,
            attribute_probabilities=attributes,
        )


def load_detectron2(
    config_file: str | Path,
    weights: str | Path,
    names_file: str | Path | None = None,
    precision: str = "auto",
    device: str = "cpu",
    fold: bool = False,
) -> Detectron2Detector:
    """A detector run by detectron2. Weights are read without running anything in them; `fold` has no meaning here.

    Raises ConfigError where detectron2 is missing or refuses the configuration, CheckpointError for weights that
    do not belong to it.
    """
    if precision not in ("auto", "float32"):
        raise ConfigError(f"--precision {precision}: --backend detectron2 computes in float32 only")
    cfg, with_attributes = read_cfg(config_file, device)
    from detectron2.modeling import build_model

    model = build_model(cfg).eval().requires_grad_(False)
    tensors = read_weights(weights)
    neutral = cfg.clone()
    neutral.MODEL.DEVICE = neutral.MODEL.WEIGHTS = neutral.OUTPUT_DIR = ""  # where it runs does not matter
    fingerprint = fingerprint_of(neutral.dump(), tensors)
    attributes = None
    if with_attributes:
        attributes = load_attributes(tensors, num_classes=cfg.MODEL.ROI_HEADS.NUM_CLASSES, source=str(weights))
        attributes = attributes.to(device)
    load_model(model, tensors, source=str(weights))
    class_names, attribute_names = check_names(
        names_file,
        num_classes=cfg.MODEL.ROI_HEADS.NUM_CLASSES,
        num_attributes=attributes.attr_score.out_features if attributes is not None else 0,
    )
    return Detectron2Detector(
        model,
        cfg,
        attributes=attributes,
        fingerprint=fingerprint,
        class_names=class_names,
        attribute_names=attribute_names,
        origin=(config_file, weights, names_file, precision, device),
    )


def read_cfg(config_file: str | Path, device: str) -> tuple[Any, bool]:
    """detectron2's configuration of a file, and whether an attribute head goes with it.

    The heads of grid-feats-vqa are detectron2's with an attribute head beside them, which is run here.
    """
    try:
        from detectron2.config import CfgNode, get_cfg
    except ImportError as error:
        raise ConfigError(HOW_TO_GET) from error
    cfg = get_cfg()
    cfg.MODEL.ATTRIBUTE_ON = False
    cfg.INPUT.MAX_ATTR_PER_INS = 16
    cfg.MODEL.ROI_ATTRIBUTE_HEAD = CfgNode(
        {"OBJ_EMBED_DIM": 256, "FC_DIM": 512, "LOSS_WEIGHT": 0.2, "NUM_CLASSES": 400}
    )
    cfg.MODEL.RPN.BBOX_LOSS_WEIGHT = 1.0
    cfg.MODEL.ROI_BOX_HEAD.BBOX_LOSS_WEIGHT = 1.0
    try:
        cfg.merge_from_file(str(config_file))
    except (OSError, KeyError, ValueError, AssertionError) as error:
        raise ConfigError(f"{config_file}: detectron2 refuses this configuration: {error}") from error
    cfg.MODEL.DEVICE = device
    cfg.MODEL.ROI_HEADS.NAME = cfg.MODEL.ROI_HEADS.NAME.removeprefix("Attribute")
    return cfg, bool(cfg.MODEL.ATTRIBUTE_ON)


def load_attributes(tensors: dict[str, Tensor], *, num_classes: int, source: str) -> AttributeHead:
    """The attribute head of a checkpoint in grid-feats-vqa's layout; its widths are those of the weights."""
    parts = {
        name.removeprefix(ATTRIBUTE_PREFIX): tensor
        for name, tensor in tensors.items()
        if name.startswith(ATTRIBUTE_PREFIX)
    }
    for name in ("obj_embed.weight", "fc.0.weight", "attr_score.weight"):
        if name not in parts:
            raise CheckpointError(f"{source}: MODEL.ATTRIBUTE_ON, but no parameter {ATTRIBUTE_PREFIX}{name}")
    embedding = parts["obj_embed.weight"].shape[1]
    head = AttributeHead(
        parts["fc.0.weight"].shape[1] - embedding,
        num_classes=num_classes,
        num_attributes=parts["attr_score.weight"].shape[0],
        embedding=embedding,
        hidden=parts["fc.0.weight"].shape[0],
    )
    head.load_state_dict(parts)
    return head.eval().requires_grad_(False)


def load_model(model: nn.Module, tensors: dict[str, Tensor], *, source: str) -> None:
    """Puts weights into a detectron2 model. Raises CheckpointError naming the first that is missing or left over."""
    expected = model.state_dict()
    for name, tensor in expected.items():
        if name in tensors and tensors[name].shape != tensor.shape:
            raise CheckpointError(
                f"{source}: parameter {name}: expected shape {tuple(tensor.shape)} by the configuration, "
                f"found {tuple(tensors[name].shape)}"
            )
    missing, unexpected = model.load_state_dict(tensors, strict=False)
    missing = [name for name in missing if not name.startswith("pixel_") and not name.endswith(IGNORED_SUFFIXES)]
    ignored = (*IGNORED_PREFIXES, ATTRIBUTE_PREFIX)
    left_over = [
        name
        for name in unexpected
        if not name.startswith(ignored) and not name.endswith(IGNORED_SUFFIXES) and ANCHORS not in name
    ]
    if missing or left_over:
        what = f"no parameter {missing[0]}" if missing else f"parameter {left_over[0]} has no place in the network"
        raise CheckpointError(f"{source}: {what}. Do the weights belong to this configuration file?")
