"""What a detectron2 YAML file says about a Faster R-CNN, read without detectron2.

Every key is read, known not to matter when a trained detector is run, or refused: a result never silently
differs from what the file asks for (`keys.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vltool.detectors.faster_rcnn.keys import DEFAULTS, IRRELEVANT, OWN_SECTIONS, SUPPORTED, is_irrelevant
from vltool.detectors.faster_rcnn.maskrcnn_benchmark import is_benchmark, translate_benchmark
from vltool.detectors.faster_rcnn.values import check_size, convert
from vltool.detectors.faster_rcnn.visual_genome import translate_keys
from vltool.detectors.faster_rcnn.yaml_file import flatten, load_yaml
from vltool.errors import ConfigError

STAGES = ("res2", "res3", "res4", "res5")
PYRAMIDS = [list(STAGES[first:last]) for first in range(4) for last in range(first + 1, 5)]


@dataclass(frozen=True)
class DetectorConfig:
    """The keys of DEFAULTS with the values of one file: `config["MODEL.RESNETS.DEPTH"]`."""

    values: dict[str, Any]
    source: str

    def described(self) -> dict[str, Any]:
        """The values that make the network what it is, wherever its files lie."""
        return {
            key: value
            for key, value in self.values.items()
            if key != "MODEL.WEIGHTS" and (value or not key.startswith(OWN_SECTIONS))
        }

    def __getitem__(self, key: str) -> Any:
        return self.values[key]

    @property
    def is_pyramid(self) -> bool:
        return bool(self["MODEL.BACKBONE.NAME"] == "build_resnet_fpn_backbone")

    @property
    def has_res5_head(self) -> bool:
        return "Res5" in self["MODEL.ROI_HEADS.NAME"]

    @property
    def has_attributes(self) -> bool:
        return bool(self["MODEL.ATTRIBUTE_ON"])


def read_config(path: str | Path) -> DetectorConfig:
    """The configuration in a YAML file of detectron2 or maskrcnn-benchmark, parents included.

    Raises ConfigError where the file cannot be read, or asks for what the built-in runner does not compute
    (the message names the key and its value).
    """
    source = str(path)
    given = flatten(load_yaml(Path(path)))
    for key in given:
        if key.startswith(OWN_SECTIONS):
            raise unknown(key, given[key], source)
    if is_benchmark(given):
        return resolve(translate_benchmark(given, source=source), source=source)
    return resolve(translate_keys(given, source=source), source=source)


def resolve(given: dict[str, Any], *, source: str) -> DetectorConfig:
    """The configuration that `given` (dotted keys) makes of the defaults, checked key by key."""
    for key, value in given.items():
        if key in SUPPORTED:
            check_supported(key, value, source)
        elif key not in DEFAULTS and not is_irrelevant(key, IRRELEVANT):
            raise unknown(key, value, source)
    values = {key: convert(key, given.get(key, default), default, source) for key, default in DEFAULTS.items()}
    for key, value in values.items():
        check_size(key, value, source)
    config = DetectorConfig(values, source)
    check_together(config)
    return config


def unknown(key: str, value: Any, source: str) -> ConfigError:
    return ConfigError(
        f"{source}: {key} = {value!r:.80} is not a key that the built-in detector runner knows, so its effect "
        "cannot be reproduced. Remove it, or run the file through --backend detectron2"
    )


def check_supported(key: str, value: Any, source: str) -> None:
    """Raises ConfigError unless the runner computes what this value of this key asks for."""
    if key == "MODEL.RESNETS.DEFORM_ON_PER_STAGE":
        supported = isinstance(value, (list, tuple)) and not any(value)
    else:
        supported = value in SUPPORTED[key]
    if not supported:
        known = ", ".join(repr(choice) for choice in SUPPORTED[key])
        raise ConfigError(
            f"{source}: {key} = {value!r:.80} is not supported by the built-in detector runner (it computes: {known}). "
            "Run the file through --backend detectron2"
        )


def check_together(config: DetectorConfig) -> None:
    """Raises ConfigError for keys that are fine alone and not together."""
    levels = config["MODEL.RPN.IN_FEATURES"]
    for key in ("MODEL.ANCHOR_GENERATOR.SIZES", "MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS"):
        if len(config[key]) not in (1, len(levels)):
            raise ConfigError(
                f"{config.source}: {key} has {len(config[key])} lists for the {len(levels)} levels {levels}"
            )
    if config.has_res5_head and len(config["MODEL.ROI_HEADS.IN_FEATURES"]) != 1:
        raise ConfigError(
            f"{config.source}: MODEL.ROI_HEADS.IN_FEATURES = {config['MODEL.ROI_HEADS.IN_FEATURES']!r}, but "
            f"{config['MODEL.ROI_HEADS.NAME']} pools from one feature map"
        )
    if config.is_pyramid and config["MODEL.FPN.IN_FEATURES"] not in PYRAMIDS:
        raise ConfigError(
            f"{config.source}: MODEL.FPN.IN_FEATURES = {config['MODEL.FPN.IN_FEATURES']!r}, but the backbone is a "
            "feature pyramid over consecutive ones of res2, res3, res4, res5"
        )
    if config.is_pyramid and config["MODEL.RESNETS.RES5_DILATION"] != 1:
        raise ConfigError(f"{config.source}: MODEL.RESNETS.RES5_DILATION = 2 leaves a feature pyramid without a level")
    if config["CAFFE.BOXES"] and (len(levels) > 1 or config.is_pyramid):
        raise ConfigError(f"{config.source}: a caffe detector proposes from one feature map, not from {levels}")
    if config.has_attributes and not config["MODEL.ROI_HEADS.NAME"].startswith("Attribute"):
        raise ConfigError(
            f"{config.source}: MODEL.ATTRIBUTE_ON = True needs MODEL.ROI_HEADS.NAME AttributeRes5ROIHeads or "
            f"AttributeStandardROIHeads, not {config['MODEL.ROI_HEADS.NAME']}"
        )
