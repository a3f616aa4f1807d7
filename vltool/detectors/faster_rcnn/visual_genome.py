"""Visual Genome detectors in the layouts they were published in, translated to the one that the runner computes.

Three attribute heads tell them apart by their names, all under `roi_heads.`:

    attribute_predictor.obj_embed.weight   grid-feats-vqa: detectron2, background last; nothing to translate
    box_predictor.cls_embedding.weight     py-bottom-up-attention: detectron2, background last, a 401st attribute
    box_predictor.cls_embed.weight         bottom-up-attention.pytorch: background last (d2) or first (caffe)

Their configurations ask for the rules of caffe with keys of their own; here these become the runner's `CAFFE.` keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vltool.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from vltool.detectors.faster_rcnn.config import DetectorConfig

HEAD = "roi_heads.box_predictor."
ATTRIBUTES = "roi_heads.attribute_predictor."
RPN_LOGITS = "proposal_generator.rpn_head.objectness_logits."
# The same layer under the names of each layout, and under ours.
ATTRIBUTE_NAMES = {
    "cls_embedding": {"cls_embedding": "obj_embed", "fc_attr": "fc.0", "attr_score": "attr_score"},
    "cls_embed": {"cls_embed": "obj_embed", "attr_linear1": "fc.0", "attr_linear2": "attr_score"},
}
LAYERS = ("objectness_logits", "anchor_deltas")
BUA, BUA_STRIDE = "MODEL.BUA.", 16


def translate_keys(given: dict[str, Any], *, source: str) -> dict[str, Any]:
    """The keys of a configuration, those of the Visual Genome repositories replaced by detectron2's and `CAFFE.`."""
    if any(key.startswith(BUA) for key in given):
        return translate_bua(given, source=source)
    keys = dict(given)
    if keys.pop("MODEL.CAFFE_MAXPOOL", False):
        keys["CAFFE.MAX_POOL"] = True
    if not keys.pop("MODEL.ROI_BOX_HEAD.RES5HALVE", True):
        keys["CAFFE.DILATED_RES5"] = True
    width = keys.pop("MODEL.PROPOSAL_GENERATOR.HID_CHANNELS", -1)
    if width != -1:
        keys["MODEL.RPN.CONV_DIMS"] = [width]
    num_attributes = keys.pop("MODEL.ROI_BOX_HEAD.NUM_ATTRS", None)
    if keys.pop("MODEL.ROI_BOX_HEAD.ATTR", False):
        keys["MODEL.ATTRIBUTE_ON"] = True
        keys["MODEL.ROI_HEADS.NAME"] = "AttributeRes5ROIHeads"
        if num_attributes is not None and num_attributes > 0:
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
    if bua.get("RESNET_VERSION", 1) != 1:
        raise ConfigError(
            f"{source}: MODEL.BUA.RESNET_VERSION = {bua['RESNET_VERSION']!r}: the built-in detector runner computes "
            "version 1 only (R101), not the normalize-first blocks of bua-caffe-frcn-r152"
        )
    is_caffe = keys.get("MODEL.ROI_HEADS.NAME") == "BUACaffeRes5ROIHeads"
    has_attributes = bool(bua.get("ATTRIBUTE_ON", keys.get("MODEL.ATTRIBUTE_ON", False)))
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
    keys["CAFFE.DILATED_RES5"] = keys.pop("MODEL.RESNETS.RES5_DILATION", 1) == 2  # of the head: the backbone has none
    if is_caffe:
        keys["MODEL.ROI_HEADS.NUM_CLASSES"] = keys.get("MODEL.ROI_HEADS.NUM_CLASSES", 1601) - 1  # without background
        keys["MODEL.ROI_ATTRIBUTE_HEAD.NUM_CLASSES"] = bua.get("ATTRIBUTE.NUM_CLASSES", 401) - 1
        keys["MODEL.RPN.CONV_DIMS"] = [bua.get("RPN.CONV_OUT_CHANNELS", 512)]
        sizes = keys.get("MODEL.ANCHOR_GENERATOR.SIZES", [[4, 8, 16, 32]])
        keys["MODEL.ANCHOR_GENERATOR.SIZES"] = [[size * BUA_STRIDE for size in level] for level in sizes]
        keys["CAFFE.ATTRIBUTE_BACKGROUND"] = has_attributes
        keys["CAFFE.BOXES"] = keys["CAFFE.ANCHORS"] = keys["CAFFE.RESIZE"] = True
    return keys


def rename(keys: dict[str, Any], renamed: dict[str, tuple[str, str]]) -> dict[str, Any]:
    """Values that have another name in detectron2."""
    return {
        key: renamed[key][1] if key in renamed and value == renamed[key][0] else value for key, value in keys.items()
    }


def translate_weights(weights: dict[str, Tensor], config: DetectorConfig, *, source: str) -> dict[str, Tensor]:
    """Named weights in the runner's layout: background last, one logit per anchor, grid-feats' attribute head."""
    weights = dict(weights)
    layout = next((name for name in ATTRIBUTE_NAMES if f"{HEAD}{name}.weight" in weights), None)
    if layout is not None:
        for theirs, ours in ATTRIBUTE_NAMES[layout].items():
            for kind in ("weight", "bias"):
                if f"{HEAD}{theirs}.{kind}" in weights:
                    weights[f"{ATTRIBUTES}{ours}.{kind}"] = weights.pop(f"{HEAD}{theirs}.{kind}")
    if layout == "cls_embedding":
        # Its probabilities are a softmax over all attributes but the last, which stands for none.
        num_attributes = config["MODEL.ROI_ATTRIBUTE_HEAD.NUM_CLASSES"]
        replace(weights, f"{ATTRIBUTES}attr_score.", lambda rows: rows[:num_attributes])
    if config["CAFFE.BOXES"]:
        check_two_classes(weights, source)
        replace(weights, f"{HEAD}cls_score.", first_goes_last)
        replace(weights, f"{HEAD}bbox_pred.", lambda rows: rows[4:])
        replace(weights, f"{ATTRIBUTES}obj_embed.", first_goes_last)
        replace(weights, f"{ATTRIBUTES}attr_score.", first_goes_last)
        # softmax over (background, object) is the logistic function of their difference
        replace(weights, RPN_LOGITS, lambda rows: rows[len(rows) // 2 :] - rows[: len(rows) // 2])
    return weights


def check_two_classes(weights: dict[str, Tensor], source: str) -> None:
    """Raises CheckpointError unless every anchor has two scores, as a caffe detector's have."""
    logits, deltas = (weights.get(f"proposal_generator.rpn_head.{name}.weight") for name in LAYERS)
    if logits is None or deltas is None or 2 * len(logits) != len(deltas):
        raise CheckpointError(
            f"{source}: proposal_generator.rpn_head.objectness_logits.weight is not that of a caffe detector, with two "
            "scores per anchor. Do the weights belong to this configuration file?"
        )


def first_goes_last(rows: Tensor) -> Tensor:
    return torch.cat((rows[1:], rows[:1]))


def replace(weights: dict[str, Tensor], layer: str, change: Any) -> None:
    """Changes the rows of a layer's weight and bias, where the file has them."""
    for kind in ("weight", "bias"):
        if layer + kind in weights:
            weights[layer + kind] = change(weights[layer + kind])
