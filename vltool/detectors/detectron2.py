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
from torch import Tensor

from vltool.detectors.detector import (
    Detections,
    array_of,
    check_boxes,
    check_image,
    description,
    fingerprint_of,
)
from vltool.detectors.faster_rcnn.checkpoint import (
    IGNORED_SUFFIXES,
    check_anchors,
    check_leftover,
    check_parameters,
    complete_norms,
    read_weights,
)
from vltool.detectors.faster_rcnn.heads import AttributeHead
from vltool.detectors.faster_rcnn.yaml_file import load_yaml
from vltool.detectors.frame import Frame
from vltool.detectors.load import HOW_TO_GET_DETECTRON2
from vltool.detectors.names import check_names
from vltool.detectors.precision import full_float32
from vltool.errors import CheckpointError, ConfigError

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

    @property
    def device(self) -> str:
        return str(self.model.device.type)

    def detect(self, image: np.ndarray) -> Detections:
        with torch.inference_mode(), full_float32(self.model.device):
            images, maps = self.feature_maps(check_image(image))
            (proposals,), _ = self.model.proposal_generator(images, maps, None)
            return self.detections(maps, proposals, frame_of(images, image))

    def detect_at(self, image: np.ndarray, boxes: np.ndarray) -> Detections:
        from detectron2.structures import Boxes, Instances

        boxes = check_boxes(boxes, height=image.shape[0], width=image.shape[1])
        with torch.inference_mode(), full_float32(self.model.device):
            images, maps = self.feature_maps(check_image(image))
            frame = frame_of(images, image)
            resized = frame.resized(torch.from_numpy(boxes)).to(images.tensor.device)
            given = Instances(images.image_sizes[0], proposal_boxes=Boxes(resized))
            return self.detections(maps, given, frame, given=boxes)

    def detect_batch(self, images: Sequence[np.ndarray], boxes: Sequence[np.ndarray] | None) -> list[Detections]:
        if boxes is None:
            return [self.detect(image) for image in images]
        return [self.detect_at(image, given) for image, given in zip(images, boxes, strict=True)]

    def describe(self) -> dict[str, Any]:
        return description(self, self.cfg.dump())

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
        self, maps: dict[str, Tensor], proposals: Any, frame: Frame, *, given: np.ndarray | None = None
    ) -> Detections:
        """What the heads say of detectron2's Instances with proposal_boxes, in pixels of the original picture."""
        predictor = self.heads.box_predictor
        features = self.box_features(maps, proposals.proposal_boxes)
        predictions = predictor(features)
        (probabilities,) = predictor.predict_probs(predictions, [proposals])
        (regressed,) = predictor.predict_boxes(predictions, [proposals])
        (instances,), (rows,) = predictor.inference(predictions, [proposals])
        regressed = regressed.reshape(len(regressed), regressed.shape[1] // 4, 4)
        kept = instances.pred_boxes.nonempty()
        attributes = None
        if self.attributes is not None:
            attributes = self.attributes(features, predictions[0].argmax(dim=1)).softmax(dim=1)
        proposal_boxes = frame.original(frame.clip(proposals.proposal_boxes.tensor))
        return Detections(
            proposal_boxes=array_of(proposal_boxes) if given is None else given,
            features=array_of(features),
            class_probabilities=array_of(probabilities),
            regressed_boxes=array_of(frame.original(frame.clip(regressed))),
            final_rows=array_of(rows[kept]),
            final_classes=array_of(instances.pred_classes[kept]),
            height=frame.height,
            width=frame.width,
            proposal_logits=array_of(proposals.objectness_logits) if given is None else None,
            attribute_probabilities=array_of(attributes),
        )


def frame_of(images: Any, image: np.ndarray) -> Frame:
    """The frame of the one picture in detectron2's ImageList."""
    (height, width), (resized_height, resized_width) = image.shape[:2], images.image_sizes[0]
    return Frame(height, width, resized_width / width, resized_height / height, resized_width, resized_height)


def why_not_importable() -> str:
    """Why detectron2 cannot be imported, as after an update of torch under its compiled part; "" if it can."""
    try:
        import detectron2.modeling  # noqa: F401
    except Exception as error:  # noqa: BLE001 - a compiled part fails in any way there is
        return f"detectron2 is installed but cannot be imported: {error!r:.200}"
    return ""


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
    model = build(cfg, source=str(config_file))
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
        raise ConfigError(f"detectron2 is not installed here: {error}. {HOW_TO_GET_DETECTRON2}") from error
    cfg = get_cfg()
    cfg.MODEL.ATTRIBUTE_ON = False
    cfg.INPUT.MAX_ATTR_PER_INS = 16
    cfg.MODEL.ROI_ATTRIBUTE_HEAD = CfgNode(
        {"OBJ_EMBED_DIM": 256, "FC_DIM": 512, "LOSS_WEIGHT": 0.2, "NUM_CLASSES": 400}
    )
    cfg.MODEL.RPN.BBOX_LOSS_WEIGHT = 1.0
    cfg.MODEL.ROI_BOX_HEAD.BBOX_LOSS_WEIGHT = 1.0
    nested = load_yaml(Path(config_file))  # detectron2's own reader would run what a YAML file asks for, and download
    if nested.get("VERSION", 2) != 2:
        raise ConfigError(f"{config_file}: VERSION = {nested['VERSION']!r:.80}: only 2 is read")
    try:
        cfg.merge_from_other_cfg(CfgNode(nested))
    except (KeyError, TypeError, ValueError, AssertionError) as error:
        reason = str(error.args[0]) if error.args else repr(error)
        raise ConfigError(f"{config_file}: detectron2 refuses this configuration: {reason}") from error
    cfg.MODEL.DEVICE = device
    cfg.MODEL.ROI_HEADS.NAME = cfg.MODEL.ROI_HEADS.NAME.removeprefix("Attribute")
    return cfg, bool(cfg.MODEL.ATTRIBUTE_ON)


def build(cfg: Any, *, source: str) -> Any:
    """detectron2's network for a configuration. Raises ConfigError where it cannot build one that gives features."""
    from detectron2.modeling import build_model

    try:
        model = build_model(cfg).eval().requires_grad_(False)
    except Exception as error:  # whatever its parts make of the values
        raise ConfigError(f"{source}: detectron2 cannot build this network: {error!r:.300}") from error
    predictor = getattr(getattr(model, "roi_heads", None), "box_predictor", None)
    if not hasattr(predictor, "cls_score"):
        raise ConfigError(
            f"{source}: {cfg.MODEL.META_ARCHITECTURE} with {cfg.MODEL.ROI_HEADS.NAME} has not the one box head whose "
            "features are wanted; cascades have several, and one-stage detectors none"
        )
    return model


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
    check_parameters(parts, head.state_dict(), source=source, name_in_file=lambda name: ATTRIBUTE_PREFIX + name)
    head.load_state_dict(parts)
    return head.eval().requires_grad_(False)


def load_model(model: Any, tensors: dict[str, Tensor], *, source: str) -> None:
    """Puts weights into a detectron2 model, by the rules of the built-in runner (`load_into`)."""
    everything = model.state_dict()
    expected = {name: tensor for name, tensor in everything.items() if not name.endswith(IGNORED_SUFFIXES)}
    tensors = complete_norms(tensors, expected)
    check_parameters(tensors, expected, source=source)
    check_leftover(set(tensors) - set(everything), tensors, source=source, ignored=(ATTRIBUTE_PREFIX,))
    check_anchors(tensors, list(model.proposal_generator.anchor_generator.cell_anchors), source)
    model.load_state_dict({name: tensors.get(name, tensor) for name, tensor in everything.items()})
