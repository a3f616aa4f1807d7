"""Keys of the Visual Genome repositories' configurations, in detectron2's names and the runner's own `CAFFE.` ones.

py-bottom-up-attention adds `CAFFE_MAXPOOL`, `HID_CHANNELS`, `RES5HALVE`, `ATTR` and `NUM_ATTRS`;
bottom-up-attention.pytorch a section `MODEL.BUA` and classes of its own (`BUACaffeRes5ROIHeads`).
"""

from __future__ import annotations

from typing import Any

from vltool.detectors.faster_rcnn.values import convert
from vltool.errors import ConfigError

BUA, BUA_STRIDE = "MODEL.BUA.", 16
# Of its section: read, or what is done with the regions later (which is a recipe here).
BUA_READ = ("ATTRIBUTE_ON", "ATTRIBUTE.NUM_CLASSES", "RESNET_VERSION", "RPN.CONV_OUT_CHANNELS")
BUA_IRRELEVANT = ("CAFFE", "EXTRACT_FEATS", *(f"EXTRACTOR.{name}" for name in ("MODE", "OUTPUT_DIR")))
BUA_IRRELEVANT += tuple(f"EXTRACTOR.{name}" for name in ("MIN_BOXES", "MAX_BOXES", "CONF_THRESH"))
BUA_HEADS = ("BUACaffeRes5ROIHeads", "BUADetectron2Res5ROIHeads", "AttributeRes5ROIHeads", "Res5ROIHeads")


def translate_keys(given: dict[str, Any], *, source: str) -> dict[str, Any]:
    """The keys of a configuration, those of the Visual Genome repositories replaced by detectron2's and `CAFFE.`."""
    if any(key.startswith(BUA) for key in given):
        return translate_bua(given, source=source)
    keys = dict(given)

    def pop_switch(key: str, default: bool) -> bool:
        return bool(convert(key, keys.pop(key, default), default, source))

    keys["CAFFE.MAX_POOL"] = pop_switch("MODEL.CAFFE_MAXPOOL", False)
    keys["CAFFE.DILATED_RES5"] = not pop_switch("MODEL.ROI_BOX_HEAD.RES5HALVE", True)
    width = keys.pop("MODEL.PROPOSAL_GENERATOR.HID_CHANNELS", -1)
    if width != -1:
        keys["MODEL.RPN.CONV_DIMS"] = [width]
    num_attributes = keys.pop("MODEL.ROI_BOX_HEAD.NUM_ATTRS", None)
    if pop_switch("MODEL.ROI_BOX_HEAD.ATTR", False):
        keys["MODEL.ATTRIBUTE_ON"] = True
        keys["MODEL.ROI_HEADS.NAME"] = "AttributeRes5ROIHeads"
        if num_attributes not in (None, -1):
            keys["MODEL.ROI_ATTRIBUTE_HEAD.NUM_CLASSES"] = num_attributes
    renamed = {
        "MODEL.BACKBONE.NAME": ("build_resnet_backbone_caffe_maxpool", "build_resnet_backbone"),
        "MODEL.RPN.HEAD_NAME": ("StandardRPNHeadForVGWithHiddenDim", "StandardRPNHead"),
        "MODEL.ROI_HEADS.NAME": ("Res5ROIHeadsForVGStride", "Res5ROIHeads"),
    }
    return rename(keys, renamed)


def translate_bua(given: dict[str, Any], *, source: str) -> dict[str, Any]:
    """The same for bottom-up-attention.pytorch, in its caffe and its detectron2 style."""
    bua = {key.removeprefix(BUA): value for key, value in given.items() if key.startswith(BUA)}
    keys = {key: value for key, value in given.items() if not key.startswith(BUA)}
    for name, value in bua.items():
        if name not in (*BUA_READ, *BUA_IRRELEVANT):
            raise ConfigError(
                f"{source}: {BUA}{name} = {value!r:.80} is not a key that the built-in detector runner knows "
                f"(known: {', '.join(BUA_READ)}, and those of the extractor). Remove it if it has no effect"
            )
    heads = keys.get("MODEL.ROI_HEADS.NAME", "Res5ROIHeads")
    if heads not in BUA_HEADS:
        raise ConfigError(
            f"{source}: MODEL.ROI_HEADS.NAME = {heads!r:.80} beside MODEL.BUA: choose {', '.join(BUA_HEADS)}"
        )
    is_caffe = heads == "BUACaffeRes5ROIHeads"
    version = convert(f"{BUA}RESNET_VERSION", bua.get("RESNET_VERSION", 1), 1, source)
    if version not in (1, 2) or (version == 2 and not is_caffe):
        raise ConfigError(
            f"{source}: MODEL.BUA.RESNET_VERSION = {version}: the built-in detector runner computes 1, and with "
            "BUACaffeRes5ROIHeads 2, whose blocks normalize first"
        )
    key = "MODEL.ATTRIBUTE_ON"
    has_attributes = convert(key, bua.get("ATTRIBUTE_ON", keys.get(key, False)), False, source)
    keys["MODEL.ATTRIBUTE_ON"] = has_attributes
    keys["MODEL.ROI_HEADS.NAME"] = "AttributeRes5ROIHeads" if has_attributes else "Res5ROIHeads"
    if "ATTRIBUTE.NUM_CLASSES" in bua:
        keys["MODEL.ROI_ATTRIBUTE_HEAD.NUM_CLASSES"] = bua["ATTRIBUTE.NUM_CLASSES"]
    renamed = {
        "MODEL.META_ARCHITECTURE": ("GeneralizedBUARCNN", "GeneralizedRCNN"),
        "MODEL.BACKBONE.NAME": ("build_bua_resnet_backbone", "build_resnet_backbone"),
        "MODEL.PROPOSAL_GENERATOR.NAME": ("BUARPN", "RPN"),
        "MODEL.RPN.HEAD_NAME": ("StandardBUARPNHead", "StandardRPNHead"),
    }
    keys["CAFFE.MAX_POOL"] = keys.get("MODEL.BACKBONE.NAME") == "build_bua_resnet_backbone"
    keys = rename(keys, renamed)
    dilation = keys.pop("MODEL.RESNETS.RES5_DILATION", 1)
    if dilation not in (1, 2):
        raise ConfigError(f"{source}: MODEL.RESNETS.RES5_DILATION = {dilation!r:.80} is not supported: choose 1 or 2")
    keys["CAFFE.DILATED_RES5"] = dilation == 2  # of the head: the backbone has none
    if is_caffe:  # background and "no attribute" are counted
        for key, count in (
            ("MODEL.ROI_HEADS.NUM_CLASSES", keys.get("MODEL.ROI_HEADS.NUM_CLASSES", 1601)),
            ("MODEL.ROI_ATTRIBUTE_HEAD.NUM_CLASSES", bua.get("ATTRIBUTE.NUM_CLASSES", 401)),
        ):
            keys[key] = convert(key, count, 1601, source) - 1
        keys["MODEL.RPN.CONV_DIMS"] = [bua.get("RPN.CONV_OUT_CHANNELS", 512)]
        key = "MODEL.ANCHOR_GENERATOR.SIZES"
        sizes = convert(key, keys.get(key, [[4, 8, 16, 32]]), [[4.0]], source)
        keys[key] = [[size * BUA_STRIDE for size in level] for level in sizes]
        keys["CAFFE.ATTRIBUTE_BACKGROUND"] = has_attributes
        keys["CAFFE.BOXES"] = keys["CAFFE.ANCHORS"] = keys["CAFFE.RESIZE"] = True
        keys["CAFFE.NORMALIZE_FIRST"] = version == 2
    return keys


def rename(keys: dict[str, Any], renamed: dict[str, tuple[str, str]]) -> dict[str, Any]:
    """Values that have another name in detectron2."""
    return {
        key: renamed[key][1] if key in renamed and value == renamed[key][0] else value for key, value in keys.items()
    }
