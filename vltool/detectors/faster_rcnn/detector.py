"""The built-in detector: a detectron2 configuration and its weights, run with torch and torchvision alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vltool.detectors.detector import Detections, check_boxes, check_image, fingerprint_of
from vltool.detectors.faster_rcnn.boxes import clip, scale
from vltool.detectors.faster_rcnn.checkpoint import load_into, read_weights
from vltool.detectors.faster_rcnn.config import DetectorConfig, read_config
from vltool.detectors.faster_rcnn.convolution import fold_all, pack_all
from vltool.detectors.faster_rcnn.model import FasterRCNN, Regions
from vltool.detectors.faster_rcnn.resize import caffe_factor, resize, resize_floats
from vltool.detectors.faster_rcnn.visual_genome import translate_weights
from vltool.detectors.names import check_names
from vltool.detectors.precision import choose_precision, full_float32
from vltool.detectors.selection import final_detections


class FasterRCNNDetector:
    """A network with its weights, as a Detector."""

    backend = "builtin"

    def __init__(
        self,
        network: FasterRCNN,
        *,
        fingerprint: str,
        class_names: tuple[str, ...] = (),
        attribute_names: tuple[str, ...] = (),
        origin: tuple[Any, ...] = (),
    ) -> None:
        """origin: the arguments of `load_builtin` that give this detector again, in another process."""
        config = network.config
        self.network = network
        self.config = config
        self.name = network_name(config)
        self.feature_dim = network.roi_heads.feature_dim
        self.num_parameters = sum(parameter.numel() for parameter in network.parameters())
        self.fingerprint = fingerprint
        self.class_names = class_names
        self.attribute_names = attribute_names
        self.precision = str(next(network.backbone.parameters()).dtype).removeprefix("torch.")
        self._origin = origin

    def __reduce__(self) -> tuple[Any, ...]:
        return load_builtin, self._origin

    def detect(self, image: np.ndarray) -> Detections:
        image = check_image(image)
        with torch.inference_mode(), full_float32(self.network.pixel_mean.device):
            pixels = self.pixels(image)
            maps = self.network.feature_maps(pixels)
            factors = self.factors(pixels, image)
            regions = self.network.propose(maps, height=pixels.shape[0], width=pixels.shape[1], factor=factors[0])
            return self.in_original_frame(regions, pixels, image)

    def detect_at(self, image: np.ndarray, boxes: np.ndarray) -> Detections:
        image = check_image(image)
        boxes = check_boxes(boxes, height=image.shape[0], width=image.shape[1])
        with torch.inference_mode(), full_float32(self.network.pixel_mean.device):
            pixels = self.pixels(image)
            maps = self.network.feature_maps(pixels)
            resized = torch.from_numpy(boxes).to(self.network.pixel_mean.device)
            factors = self.factors(pixels, image)
            regions = self.network.describe(maps, scale(resized, *factors), factor=factors[0])
            return self.in_original_frame(regions, pixels, image, given=boxes)

    def describe(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "backend": self.backend,
            "fingerprint": self.fingerprint,
            "precision": self.precision,
            "feature_dim": self.feature_dim,
            "config": self.config.described(),
            "class_names": list(self.class_names),
            "attribute_names": list(self.attribute_names),
        }

    def pixels(self, image: np.ndarray) -> np.ndarray:
        """The picture resized, in the channel order of the configuration; by caffe's rules, less its mean."""
        shortest, longest = self.config["INPUT.MIN_SIZE_TEST"], self.config["INPUT.MAX_SIZE_TEST"]
        if self.config["CAFFE.RESIZE"]:
            ordered = image[:, :, ::-1] if self.config["INPUT.FORMAT"] == "BGR" else image
            means, deviations = self.config["MODEL.PIXEL_MEAN"], self.config["MODEL.PIXEL_STD"]
            return resize_floats(
                (ordered.astype(np.float32) - np.float32(means)) / np.float32(deviations),
                caffe_factor(*image.shape[:2], shortest=shortest, longest=longest),
            )
        resized = resize(image, shortest=shortest, longest=longest)
        return np.array(resized[:, :, ::-1] if self.config["INPUT.FORMAT"] == "BGR" else resized)

    def factors(self, pixels: np.ndarray, image: np.ndarray) -> tuple[float, float]:
        """How many pixels wide and high of the network's picture one of the original is; in caffe one number."""
        if self.config["CAFFE.RESIZE"]:
            shortest, longest = self.config["INPUT.MIN_SIZE_TEST"], self.config["INPUT.MAX_SIZE_TEST"]
            factor = caffe_factor(*image.shape[:2], shortest=shortest, longest=longest)
            return factor, factor
        return pixels.shape[1] / image.shape[1], pixels.shape[0] / image.shape[0]

    def in_original_frame(
        self, regions: Regions, pixels: np.ndarray, image: np.ndarray, *, given: np.ndarray | None = None
    ) -> Detections:
        """The network's regions in pixels of the original picture, with the detector's own final detections."""
        height, width = image.shape[:2]
        if self.config["CAFFE.RESIZE"]:
            factors = tuple(1 / factor for factor in self.factors(pixels, image))
        else:
            factors = width / pixels.shape[1], height / pixels.shape[0]
        pixel = 1 if self.config["CAFFE.BOXES"] else 0
        frame = {"height": (height - 1) / factors[1], "width": (width - 1) / factors[0]}
        clipped = clip(
            regions.regressed_boxes, **(frame if pixel else {"height": pixels.shape[0], "width": pixels.shape[1]})
        )
        rows, classes = final_detections(
            clipped,
            regions.class_probabilities,
            score_threshold=self.config["MODEL.ROI_HEADS.SCORE_THRESH_TEST"],
            nms_threshold=self.config["MODEL.ROI_HEADS.NMS_THRESH_TEST"],
            max_detections=self.config["TEST.DETECTIONS_PER_IMAGE"],
            pixel=pixel / factors[0],
        )
        boxes = clip(scale(regions.boxes, *factors), height=height, width=width)
        regressed = clip(scale(clipped, *factors), height=height, width=width)
        return Detections(
            proposal_boxes=boxes.cpu().numpy() if given is None else given,
            features=regions.features.cpu().numpy(),
            class_probabilities=regions.class_probabilities.cpu().numpy(),
            regressed_boxes=regressed.cpu().numpy(),
            final_rows=rows.cpu().numpy(),
            final_classes=classes.cpu().numpy(),
            height=height,
            width=width,
            proposal_logits=None if regions.logits is None else regions.logits.cpu().numpy(),
            attribute_probabilities=(
                None if regions.attribute_probabilities is None else regions.attribute_probabilities.cpu().numpy()
            ),
        )


def load_builtin(
    config_file: str | Path,
    weights: str | Path,
    names_file: str | Path | None = None,
    precision: str = "auto",
    device: str = "cpu",
    fold: bool | None = None,
) -> FasterRCNNDetector:
    """A detector from a detectron2 configuration and its weights.

    Raises ConfigError for a configuration that the runner does not compute, CheckpointError for weights that
    do not belong to it.
    """
    config = read_config(config_file)
    network = FasterRCNN(config)
    tensors = translate_weights(read_weights(weights), config, source=str(weights))
    load_into(network, tensors, source=str(weights), anchors=network.proposal_generator.base_anchors)
    fingerprint = fingerprint_of(json.dumps(config.described(), sort_keys=True), network.state_dict())
    precision = choose_precision(precision, network, device)
    fold = config.has_res5_head if fold is None else fold
    if fold or precision == "bfloat16":  # rounding before and after a normalization would cost bfloat16 its few bits
        fold_all(network)
    network = network.to(device).to(memory_format=torch.channels_last)
    if precision == "bfloat16":
        # Boxes and scores keep float32; the convolutions carry the cost.
        network.backbone.to(torch.bfloat16)
        network.proposal_generator.rpn_head.conv.to(torch.bfloat16)
        if network.roi_heads.res5 is not None:
            network.roi_heads.res5.to(torch.bfloat16)
    pack_all(network)
    class_names, attribute_names = check_names(
        names_file,
        num_classes=config["MODEL.ROI_HEADS.NUM_CLASSES"],
        num_attributes=config["MODEL.ROI_ATTRIBUTE_HEAD.NUM_CLASSES"] if config.has_attributes else 0,
    )
    return FasterRCNNDetector(
        network,
        fingerprint=fingerprint,
        class_names=class_names,
        attribute_names=attribute_names,
        origin=(config_file, weights, names_file, precision, device, fold),
    )


def network_name(config: DetectorConfig) -> str:
    """A short name for people: "R50-C4", "R101-FPN", "X152-C4 with attributes"."""
    family = "R" if config["MODEL.RESNETS.NUM_GROUPS"] == 1 else "X"
    if config.is_pyramid:
        kind = "FPN"
    elif config.has_res5_head:
        kind = "C4"
    else:
        kind = "DC5" if config["MODEL.RESNETS.RES5_DILATION"] == 2 else "C5"
    suffix = " with attributes" if config.has_attributes else ""
    return f"{family}{config['MODEL.RESNETS.DEPTH']}-{kind}{suffix}"
