"""What a detectron2 YAML file says about a Faster R-CNN, read without detectron2.

Every key is read, known not to matter when a trained detector is run, or refused: a result never silently
differs from what the file asks for (`keys.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vltool.detectors.faster_rcnn.keys import DEFAULTS, SUPPORTED, is_irrelevant
from vltool.detectors.faster_rcnn.visual_genome import translate_keys
from vltool.detectors.faster_rcnn.yaml_file import flatten, load_yaml
from vltool.errors import ConfigError


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
            if key != "MODEL.WEIGHTS" and (value or not key.startswith("CAFFE."))
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
    """The configuration in a detectron2 YAML file, parents included.

    Raises ConfigError where the file cannot be read, or asks for what the built-in runner does not compute
    (the message names the key and its value).
    """
    given = translate_keys(flatten(load_yaml(Path(path))), source=str(path))
    return resolve(given, source=str(path))


def resolve(given: dict[str, Any], *, source: str) -> DetectorConfig:
    """The configuration that `given` (dotted keys) makes of the defaults, checked key by key."""
    for key, value in given.items():
        if key in SUPPORTED:
            check_supported(key, value, source)
        elif key not in DEFAULTS and not is_irrelevant(key):
            raise ConfigError(
                f"{source}: {key} = {value!r} is not a key that the built-in detector runner knows, so its effect "
                "cannot be reproduced. Remove it, or run the file through --backend detectron2"
            )
    values = {key: convert(key, given.get(key, default), default, source) for key, default in DEFAULTS.items()}
    config = DetectorConfig(values, source)
    check_together(config)
    return config


def check_supported(key: str, value: Any, source: str) -> None:
    """Raises ConfigError unless the runner computes what this value of this key asks for."""
    if key == "MODEL.RESNETS.DEFORM_ON_PER_STAGE":
        supported = not any(value)
    else:
        supported = value in SUPPORTED[key]
    if not supported:
        known = ", ".join(repr(choice) for choice in SUPPORTED[key])
        raise ConfigError(
            f"{source}: {key} = {value!r} is not supported by the built-in detector runner (it computes: {known}). "
            "Run the file through --backend detectron2"
        )


def convert(key: str, value: Any, default: Any, source: str) -> Any:
    """`value` in the type of the default, so that 600 and 600.0, tuples and lists, hash alike."""
    if isinstance(default, bool) and isinstance(value, bool):
        return value
    if isinstance(default, int) and not isinstance(default, bool) and isinstance(value, int):
        return int(value)
    if isinstance(default, float) and isinstance(value, (int, float)):
        return float(value)
    if isinstance(default, str) and isinstance(value, str):
        return value
    if isinstance(default, list) and isinstance(value, (list, tuple)):
        example = default[0] if default else ""
        return [convert(key, item, example, source) for item in value]
    raise ConfigError(f"{source}: {key} = {value!r}, expected a value like {default!r}")


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
    if config.is_pyramid and config["MODEL.FPN.IN_FEATURES"] == []:
        raise ConfigError(f"{config.source}: MODEL.FPN.IN_FEATURES is empty, but the backbone is a feature pyramid")
    if config.has_attributes and not config["MODEL.ROI_HEADS.NAME"].startswith("Attribute"):
        raise ConfigError(
            f"{config.source}: MODEL.ATTRIBUTE_ON = True needs MODEL.ROI_HEADS.NAME AttributeRes5ROIHeads or "
            f"AttributeStandardROIHeads, not {config['MODEL.ROI_HEADS.NAME']}"
        )
