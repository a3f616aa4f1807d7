"""What a detectron2 YAML file says about a Faster R-CNN, read without detectron2.

Keys and defaults are detectron2's (`config/defaults.py`, version 2 of its format); `MODEL.ATTRIBUTE_ON` and
`MODEL.ROI_ATTRIBUTE_HEAD` are those of grid-feats-vqa. A file may name a parent in `_BASE_`, or be a full dump:

    _BASE_: "Base-RCNN-C4.yaml"
    MODEL:
      RESNETS: {DEPTH: 101}
      ROI_HEADS: {NUM_CLASSES: 1600}

Every key is read, known not to matter when a trained detector is run, or refused: a result never silently
differs from what the file asks for.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from vltool.errors import ConfigError

# What the runner reads, with detectron2's defaults.
DEFAULTS: dict[str, Any] = {
    "INPUT.FORMAT": "BGR",
    "INPUT.MIN_SIZE_TEST": 800,
    "INPUT.MAX_SIZE_TEST": 1333,
    "MODEL.PIXEL_MEAN": [103.53, 116.28, 123.675],
    "MODEL.PIXEL_STD": [1.0, 1.0, 1.0],
    "MODEL.WEIGHTS": "",
    "MODEL.BACKBONE.NAME": "build_resnet_backbone",
    "MODEL.RESNETS.DEPTH": 50,
    "MODEL.RESNETS.NORM": "FrozenBN",
    "MODEL.RESNETS.NUM_GROUPS": 1,
    "MODEL.RESNETS.WIDTH_PER_GROUP": 64,
    "MODEL.RESNETS.STRIDE_IN_1X1": True,
    "MODEL.RESNETS.RES5_DILATION": 1,
    "MODEL.RESNETS.RES2_OUT_CHANNELS": 256,
    "MODEL.RESNETS.STEM_OUT_CHANNELS": 64,
    "MODEL.RESNETS.OUT_FEATURES": ["res4"],
    "MODEL.FPN.IN_FEATURES": [],
    "MODEL.FPN.OUT_CHANNELS": 256,
    "MODEL.FPN.NORM": "",
    "MODEL.FPN.FUSE_TYPE": "sum",
    "MODEL.ANCHOR_GENERATOR.SIZES": [[32, 64, 128, 256, 512]],
    "MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS": [[0.5, 1.0, 2.0]],
    "MODEL.ANCHOR_GENERATOR.OFFSET": 0.0,
    "MODEL.PROPOSAL_GENERATOR.MIN_SIZE": 0,
    "MODEL.RPN.IN_FEATURES": ["res4"],
    "MODEL.RPN.CONV_DIMS": [-1],
    "MODEL.RPN.BBOX_REG_WEIGHTS": [1.0, 1.0, 1.0, 1.0],
    "MODEL.RPN.PRE_NMS_TOPK_TEST": 6000,
    "MODEL.RPN.POST_NMS_TOPK_TEST": 1000,
    "MODEL.RPN.NMS_THRESH": 0.7,
    "MODEL.ROI_HEADS.NAME": "Res5ROIHeads",
    "MODEL.ROI_HEADS.NUM_CLASSES": 80,
    "MODEL.ROI_HEADS.IN_FEATURES": ["res4"],
    "MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.05,
    "MODEL.ROI_HEADS.NMS_THRESH_TEST": 0.5,
    "MODEL.ROI_BOX_HEAD.NAME": "",
    "MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS": [10.0, 10.0, 5.0, 5.0],
    "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION": 14,
    "MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO": 0,
    "MODEL.ROI_BOX_HEAD.POOLER_TYPE": "ROIAlignV2",
    "MODEL.ROI_BOX_HEAD.NUM_FC": 0,
    "MODEL.ROI_BOX_HEAD.FC_DIM": 1024,
    "MODEL.ROI_BOX_HEAD.NUM_CONV": 0,
    "MODEL.ROI_BOX_HEAD.CONV_DIM": 256,
    "MODEL.ROI_BOX_HEAD.NORM": "",
    "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG": False,
    "MODEL.ATTRIBUTE_ON": False,
    "MODEL.ROI_ATTRIBUTE_HEAD.OBJ_EMBED_DIM": 256,
    "MODEL.ROI_ATTRIBUTE_HEAD.FC_DIM": 512,
    "MODEL.ROI_ATTRIBUTE_HEAD.NUM_CLASSES": 400,
    "TEST.DETECTIONS_PER_IMAGE": 100,
}

STATISTICS_NORMS = ("FrozenBN", "BN", "SyncBN", "NaiveSyncBN")  # the same arithmetic once training is over

# Keys whose other values would change the result in a way the runner does not compute.
SUPPORTED: dict[str, tuple[Any, ...]] = {
    "VERSION": (2,),
    "INPUT.FORMAT": ("BGR", "RGB"),
    "MODEL.META_ARCHITECTURE": ("GeneralizedRCNN",),
    "MODEL.LOAD_PROPOSALS": (False,),
    "MODEL.BACKBONE.NAME": ("build_resnet_backbone", "build_resnet_fpn_backbone"),
    "MODEL.RESNETS.DEPTH": (50, 101, 152),
    "MODEL.RESNETS.NORM": STATISTICS_NORMS,
    "MODEL.RESNETS.RES5_DILATION": (1, 2),
    "MODEL.RESNETS.DEFORM_ON_PER_STAGE": ([False, False, False, False],),
    "MODEL.FPN.NORM": ("", *STATISTICS_NORMS),
    "MODEL.FPN.FUSE_TYPE": ("sum", "avg"),
    "MODEL.ANCHOR_GENERATOR.NAME": ("DefaultAnchorGenerator",),
    "MODEL.PROPOSAL_GENERATOR.NAME": ("RPN",),
    "MODEL.RPN.HEAD_NAME": ("StandardRPNHead",),
    "MODEL.ROI_HEADS.NAME": (
        "Res5ROIHeads",
        "StandardROIHeads",
        "AttributeRes5ROIHeads",
        "AttributeStandardROIHeads",
    ),
    "MODEL.ROI_BOX_HEAD.NAME": ("", "FastRCNNConvFCHead"),
    "MODEL.ROI_BOX_HEAD.NORM": ("", *STATISTICS_NORMS),
    "MODEL.ROI_BOX_HEAD.POOLER_TYPE": ("ROIAlignV2", "ROIAlign", "ROIPool"),
    "MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE": (False,),
    "TEST.AUG.ENABLED": (False,),
    "FLOAT32_PRECISION": ("", "highest"),
}

# Keys, or whole sections, that do not matter when a trained box detector is run. Mask and keypoint heads come
# after the boxes and do not change them.
IRRELEVANT = (
    "CUDNN_BENCHMARK DATALOADER DATASETS GLOBAL OUTPUT_DIR SEED SOLVER VIS_PERIOD "
    "INPUT.CROP INPUT.MASK_FORMAT INPUT.MAX_ATTR_PER_INS INPUT.MAX_SIZE_TRAIN INPUT.MIN_SIZE_TRAIN "
    "INPUT.MIN_SIZE_TRAIN_SAMPLING INPUT.RANDOM_FLIP "
    "MODEL.ANCHOR_GENERATOR.ANGLES MODEL.BACKBONE.FREEZE_AT MODEL.DEVICE MODEL.KEYPOINT_ON MODEL.MASK_ON "
    "MODEL.PANOPTIC_FPN MODEL.RESNETS.DEFORM_MODULATED MODEL.RESNETS.DEFORM_NUM_GROUPS MODEL.RETINANET "
    "MODEL.ROI_BOX_CASCADE_HEAD MODEL.ROI_KEYPOINT_HEAD MODEL.ROI_MASK_HEAD MODEL.SEM_SEG_HEAD "
    "MODEL.ROI_ATTRIBUTE_HEAD.LOSS_WEIGHT "
    "MODEL.ROI_BOX_HEAD.BBOX_LOSS_WEIGHT MODEL.ROI_BOX_HEAD.BBOX_REG_LOSS_TYPE "
    "MODEL.ROI_BOX_HEAD.BBOX_REG_LOSS_WEIGHT MODEL.ROI_BOX_HEAD.FED_LOSS_FREQ_WEIGHT_POWER "
    "MODEL.ROI_BOX_HEAD.FED_LOSS_NUM_CLASSES MODEL.ROI_BOX_HEAD.SMOOTH_L1_BETA "
    "MODEL.ROI_BOX_HEAD.TRAIN_ON_PRED_BOXES MODEL.ROI_BOX_HEAD.USE_FED_LOSS "
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE MODEL.ROI_HEADS.IOU_LABELS MODEL.ROI_HEADS.IOU_THRESHOLDS "
    "MODEL.ROI_HEADS.POSITIVE_FRACTION MODEL.ROI_HEADS.PROPOSAL_APPEND_GT "
    "MODEL.RPN.BATCH_SIZE_PER_IMAGE MODEL.RPN.BBOX_LOSS_WEIGHT MODEL.RPN.BBOX_REG_LOSS_TYPE "
    "MODEL.RPN.BBOX_REG_LOSS_WEIGHT MODEL.RPN.BOUNDARY_THRESH MODEL.RPN.IOU_LABELS MODEL.RPN.IOU_THRESHOLDS "
    "MODEL.RPN.LOSS_WEIGHT MODEL.RPN.POSITIVE_FRACTION MODEL.RPN.POST_NMS_TOPK_TRAIN "
    "MODEL.RPN.PRE_NMS_TOPK_TRAIN MODEL.RPN.SMOOTH_L1_BETA "
    "TEST.AUG TEST.EVAL_PERIOD TEST.EXPECTED_RESULTS TEST.KEYPOINT_OKS_SIGMAS TEST.PRECISE_BN"
).split()


@dataclass(frozen=True)
class DetectorConfig:
    """The keys of DEFAULTS with the values of one file: `config["MODEL.RESNETS.DEPTH"]`."""

    values: dict[str, Any]
    source: str

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
    given = flatten(load_yaml(Path(path)))
    return resolve(given, source=str(path))


def resolve(given: dict[str, Any], *, source: str) -> DetectorConfig:
    """The configuration that `given` (dotted keys) makes of the defaults, checked key by key."""
    for key, value in given.items():
        if key in SUPPORTED:
            check_supported(key, value, source)
        elif key not in DEFAULTS and not any(key == name or key.startswith(name + ".") for name in IRRELEVANT):
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
        as_float = any(isinstance(item, float) for item in default)
        return [float(item) if as_float else list(item) if isinstance(item, tuple) else item for item in value]
    raise ConfigError(f"{source}: {key} = {value!r}, expected a value like {default!r}")


def check_together(config: DetectorConfig) -> None:
    """Raises ConfigError for keys that are fine alone and not together."""
    levels = config["MODEL.RPN.IN_FEATURES"]
    for key in ("MODEL.ANCHOR_GENERATOR.SIZES", "MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS"):
        if len(config[key]) not in (1, len(levels)):
            raise ConfigError(f"{config.source}: {key} has {len(config[key])} lists for the {len(levels)} levels {levels}")
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


class _Loader(yaml.SafeLoader):
    """Safe YAML that also knows the tuples of old detectron2 dumps."""


_Loader.add_constructor("tag:yaml.org,2002:python/tuple", lambda loader, node: loader.construct_sequence(node, deep=True))


def load_yaml(path: Path, *, children: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The nested mapping of a YAML file laid over that of the parents named in its `_BASE_`."""
    path = path.expanduser()
    if path.resolve() in children:
        raise ConfigError(f"{path}: _BASE_ leads back to this file: {' -> '.join(map(str, children))}")
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # a SafeLoader: builds no objects
    except OSError as error:
        named_by = f" (named by _BASE_ in {children[-1]})" if children else ""
        raise ConfigError(f"{path}: cannot read the detector configuration{named_by}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not a YAML file: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected a mapping like 'MODEL: ...', found {type(content).__name__}")
    parents = content.pop("_BASE_", [])
    merged: dict[str, Any] = {}
    for parent in [parents] if isinstance(parents, str) else parents:
        if "://" in parent:
            raise ConfigError(f"{path}: _BASE_ = {parent!r}: vltool downloads nothing; save that file and name its path")
        parent_path = path.parent / Path(parent).expanduser()
        merged = overlay(merged, load_yaml(parent_path, children=(*children, path.resolve())))
    return overlay(merged, content)


def overlay(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """`above` laid over `below`, section by section."""
    merged = dict(below)
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = overlay(merged[key], value)
        else:
            merged[key] = value
    return merged


def flatten(nested: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted keys of a nested mapping; strings that spell a Python literal, "(600,)", become that value."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, dict):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = literal(value)
    return flat


def literal(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return value
