"""The built-in detector: a detectron2 configuration and its weights, run with torch and torchvision alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vltool.detectors.detector import (
    Detections,
    array_of,
    check_boxes,
    check_image,
    description,
    fingerprint_of,
)
from vltool.detectors.faster_rcnn.checkpoint import load_into, read_weights
from vltool.detectors.faster_rcnn.config import DetectorConfig, read_config
from vltool.detectors.faster_rcnn.convolution import fold_all, pack_all, to_bfloat16
from vltool.detectors.faster_rcnn.final import own_detections
from vltool.detectors.faster_rcnn.layouts import translate_weights
from vltool.detectors.faster_rcnn.model import FasterRCNN, Regions
from vltool.detectors.faster_rcnn.resize import benchmark_shape, caffe_factor, resize, resize_floats, resized_shape
from vltool.detectors.frame import Frame
from vltool.detectors.names import check_names
from vltool.detectors.precision import choose_precision, full_float32


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

    @property
    def device(self) -> str:
        return self.network.pixel_mean.device.type

    def detect(self, image: np.ndarray) -> Detections:
        return self.detect_batch([image], None)[0]

    def detect_at(self, image: np.ndarray, boxes: np.ndarray) -> Detections:
        return self.detect_batch([image], [boxes])[0]

    def detect_batch(self, images: Sequence[np.ndarray], boxes: Sequence[np.ndarray] | None) -> list[Detections]:
        images = [check_image(image) for image in images]
        height, width = images[0].shape[:2]
        given = None if boxes is None else [check_boxes(each, height=height, width=width) for each in boxes]
        device = self.network.pixel_mean.device
        with torch.inference_mode(), full_float32(device):
            pixels, frames = zip(*map(self.pixels, images), strict=True)
            maps = self.network.feature_maps(*pixels)
            found = []
            for number, frame in enumerate(frames):
                own_maps = {name: tensor[number : number + 1] for name, tensor in maps.items()}
                if given is not None:
                    resized = frame.resized(torch.from_numpy(given[number]).to(device))
                    regions = self.network.describe(own_maps, resized, factor=frame.factor_x)
                    found.append(self.detections(regions, frame, given=given[number]))
                    continue
                size = {"height": pixels[number].shape[0], "width": pixels[number].shape[1]}
                regions = self.network.propose(own_maps, **size, factor=frame.factor_x)
                found.append(self.detections(regions, frame))
            return found

    def describe(self) -> dict[str, Any]:
        return description(self, self.config.described())

    def pixels(self, image: np.ndarray) -> tuple[np.ndarray, Frame]:
        """The picture resized, in the channel order of the configuration; by caffe's rules, less its mean."""
        height, width = image.shape[:2]
        sizes = {"shortest": self.config["INPUT.MIN_SIZE_TEST"], "longest": self.config["INPUT.MAX_SIZE_TEST"]}
        if self.config["CAFFE.RESIZE"]:
            ordered = image[:, :, ::-1] if self.config["INPUT.FORMAT"] == "BGR" else image
            means, deviations = self.config["MODEL.PIXEL_MEAN"], self.config["MODEL.PIXEL_STD"]
            factor = caffe_factor(height, width, **sizes)
            pixels = resize_floats((ordered.astype(np.float32) - np.float32(means)) / np.float32(deviations), factor)
            # Its frame is the original picture times one factor, whatever the resized picture was rounded to.
            return pixels, Frame(height, width, factor, factor, (width - 1) * factor, (height - 1) * factor)
        shape_of = benchmark_shape if self.config["BENCHMARK.BOXES"] else resized_shape
        new_height, new_width = shape_of(height, width, **sizes)
        resized = resize(image, height=new_height, width=new_width)
        pixels = np.array(resized[:, :, ::-1] if self.config["INPUT.FORMAT"] == "BGR" else resized)
        edge = 1 if self.config["BENCHMARK.BOXES"] else 0
        return pixels, Frame(height, width, new_width / width, new_height / height, new_width - edge, new_height - edge)

    def detections(self, regions: Regions, frame: Frame, *, given: np.ndarray | None = None) -> Detections:
        """The network's regions in pixels of the original picture, with the detector's own final detections."""
        clipped = frame.clip(regions.regressed_boxes)
        rows, classes = own_detections(
            self.config,
            clipped,
            regions.class_probabilities,
            pixel=frame.factor_x if self.config["CAFFE.BOXES"] else 0.0,
        )
        return Detections(
            proposal_boxes=array_of(frame.original(regions.boxes)) if given is None else given,
            features=array_of(regions.features),
            class_probabilities=array_of(regions.class_probabilities),
            regressed_boxes=array_of(frame.original(clipped)),
            final_rows=array_of(rows),
            final_classes=array_of(classes),
            height=frame.height,
            width=frame.width,
            proposal_logits=array_of(regions.logits),
            attribute_probabilities=array_of(regions.attribute_probabilities),
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
    tensors, name_in_file = translate_weights(read_weights(weights), config, source=str(weights))
    load_into(
        network,
        tensors,
        source=str(weights),
        anchors=network.proposal_generator.base_anchors,
        name_in_file=name_in_file,
    )
    fingerprint = fingerprint_of(json.dumps(config.described(), sort_keys=True), network.state_dict())
    precision = choose_precision(precision, network, device)
    fold = config.has_res5_head if fold is None else fold
    if fold or precision == "bfloat16":  # rounding before and after a normalization would cost bfloat16 its few bits
        fold_all(network)
    network = network.to(device).to(memory_format=torch.channels_last)
    if precision == "bfloat16":
        # Boxes and scores keep float32; the convolutions carry the cost.
        to_bfloat16(network.backbone)
        to_bfloat16(network.proposal_generator.rpn_head.conv)
        if network.roi_heads.res5 is not None:
            to_bfloat16(network.roi_heads.res5)
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
