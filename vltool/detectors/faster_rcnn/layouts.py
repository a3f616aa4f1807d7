"""Weights in the layouts that detectors were published in, brought to the one that the runner computes.

What tells the Visual Genome detectors apart is their attribute head:

    roi_heads.attribute_predictor.obj_embed.weight   grid-feats-vqa: detectron2, background last; nothing to change
    roi_heads.box_predictor.cls_embedding.weight     py-bottom-up-attention: detectron2, and a 401st attribute
    roi_heads.box_predictor.cls_embed.weight         bottom-up-attention.pytorch: background last (d2) or first (caffe)
    attribute.predictor.cls_embedding.weight         maskrcnn-benchmark (VinVL): background first, names of its own
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from vltool.detectors.faster_rcnn.config import DetectorConfig
from vltool.detectors.faster_rcnn.convolution import EPSILON
from vltool.errors import CheckpointError

HEAD = "roi_heads.box_predictor."
ATTRIBUTES = "roi_heads.attribute_predictor."
RPN = "proposal_generator.rpn_head."
DATA_PARALLEL = "module."  # before every name that a trainer on several GPUs wrote

Names = tuple[tuple[str, str], ...]  # theirs, ours: beginnings, or with a dot before them parts of a name
PYB_NAMES: Names = (
    (f"{HEAD}cls_embedding.", f"{ATTRIBUTES}obj_embed."),
    (f"{HEAD}fc_attr.", f"{ATTRIBUTES}fc.0."),
    (f"{HEAD}attr_score.", f"{ATTRIBUTES}attr_score."),
)
BUA_NAMES: Names = (
    (f"{HEAD}cls_embed.", f"{ATTRIBUTES}obj_embed."),
    (f"{HEAD}attr_linear1.", f"{ATTRIBUTES}fc.0."),
    (f"{HEAD}attr_linear2.", f"{ATTRIBUTES}attr_score."),
)
# A normalization that comes before a convolution is here the one that comes after the convolution before.
NORMALIZE_FIRST_NAMES: Names = (
    ("roi_heads.res5.0.norm.", "backbone.norm."),
    (".conv2.norm.", ".conv1.norm."),
    (".conv3.norm.", ".conv2.norm."),
)
NORMALIZE_FIRST_EPSILON = 2e-5
BENCHMARK_NAMES: Names = (
    ("backbone.body.", "backbone."),
    ("rpn.head.cls_logits.", f"{RPN}objectness_logits."),
    ("rpn.head.bbox_pred.", f"{RPN}anchor_deltas."),
    ("rpn.head.conv.", f"{RPN}conv."),
    ("roi_heads.box.feature_extractor.head.layer4.", "roi_heads.res5."),
    ("roi_heads.box.predictor.", HEAD),
    ("attribute.predictor.cls_embedding.", f"{ATTRIBUTES}obj_embed."),
    ("attribute.predictor.fc_attr.", f"{ATTRIBUTES}fc.0."),
    ("attribute.predictor.attr_score.", f"{ATTRIBUTES}attr_score."),
    *((f".layer{number}.", f".res{number + 1}.") for number in (1, 2, 3)),
    *((f".bn{number}.", f".conv{number}.norm.") for number in (1, 2, 3)),
    (".downsample.0.", ".shortcut."),
    (".downsample.1.", ".shortcut.norm."),
)
SHARED = "attribute.feature_extractor.", "roi_heads.box.feature_extractor."  # one module under two names


def translate_weights(
    weights: dict[str, Tensor], config: DetectorConfig, *, source: str
) -> tuple[dict[str, Tensor], Callable[[str], str]]:
    """Named weights in the runner's layout, and what a parameter of the runner is called in the file.

    Raises CheckpointError where the weights contradict their own layout.
    """
    is_parallel = bool(weights) and all(name.startswith(DATA_PARALLEL) for name in weights)
    weights = {name.removeprefix(DATA_PARALLEL) if is_parallel else name: tensor for name, tensor in weights.items()}
    if config["BENCHMARK.BOXES"]:
        weights = without_copies(weights, source)
    names = names_of(weights, config)
    weights = {renamed(name, names): tensor for name, tensor in weights.items()}

    def name_in_file(name: str) -> str:
        return (DATA_PARALLEL if is_parallel else "") + renamed(name, names, back=True)

    if names is PYB_NAMES:
        # Its probabilities are a softmax over all attributes but the last, which stands for none.
        num_attributes = config["MODEL.ROI_ATTRIBUTE_HEAD.NUM_CLASSES"]
        replace(weights, f"{ATTRIBUTES}attr_score.", lambda rows: rows[:num_attributes])
    if config["CAFFE.BOXES"]:
        check_two_classes(weights, source)
        # softmax over (background, object) is the logistic function of their difference
        replace(weights, f"{RPN}objectness_logits.", lambda rows: rows[len(rows) // 2 :] - rows[: len(rows) // 2])
    if config["CAFFE.BOXES"] or config["BENCHMARK.BOXES"]:
        replace(weights, f"{HEAD}bbox_pred.", lambda rows: rows[4:])
        for layer in (f"{HEAD}cls_score.", f"{ATTRIBUTES}obj_embed.", f"{ATTRIBUTES}attr_score."):
            replace(weights, layer, first_goes_last)
    if config["CAFFE.NORMALIZE_FIRST"]:
        change_epsilon(weights, NORMALIZE_FIRST_EPSILON)
    elif config["BENCHMARK.BOXES"]:
        change_epsilon(weights, 0.0)
    return weights, name_in_file


def names_of(weights: dict[str, Tensor], config: DetectorConfig) -> Names:
    """The names that the layout of these weights has for ours."""
    if config["BENCHMARK.BOXES"]:
        return BENCHMARK_NAMES
    if f"{HEAD}cls_embedding.weight" in weights:
        return PYB_NAMES
    bua = BUA_NAMES if f"{HEAD}cls_embed.weight" in weights else ()
    return (*bua, *NORMALIZE_FIRST_NAMES) if config["CAFFE.NORMALIZE_FIRST"] else bua


def renamed(name: str, names: Names, *, back: bool = False) -> str:
    """A parameter's name of the file in ours; `back`: ours in that of the file."""
    is_stem = name.startswith("backbone.stem.") and names[-1:] == NORMALIZE_FIRST_NAMES[-1:]  # plain in that layout
    for pair in () if is_stem else (reversed(names) if back else names):
        before, after = reversed(pair) if back else pair
        if before.startswith("."):
            name = name.replace(before, after)
        elif name.startswith(before):
            name = after + name.removeprefix(before)
    return name


def without_copies(weights: dict[str, Tensor], source: str) -> dict[str, Tensor]:
    """Leaves out the second copy of what attributes share with boxes. Raises CheckpointError if the two differ."""
    copy, original = SHARED
    for name in weights:
        twin = original + name.removeprefix(copy)
        if name.startswith(copy) and not (twin in weights and torch.equal(weights[name], weights[twin])):
            raise CheckpointError(
                f"{source}: parameter {name} is not that of {twin}, but attributes and boxes have one feature "
                "extractor (MODEL.ROI_ATTRIBUTE_HEAD.SHARE_BOX_FEATURE_EXTRACTOR)"
            )
    return {name: tensor for name, tensor in weights.items() if not name.startswith(copy)}


def check_two_classes(weights: dict[str, Tensor], source: str) -> None:
    """Raises CheckpointError unless every anchor has two scores, as a caffe detector's have."""
    logits, deltas = (weights.get(f"{RPN}{name}.weight") for name in ("objectness_logits", "anchor_deltas"))
    if logits is None or deltas is None or 2 * len(logits) != len(deltas):
        raise CheckpointError(
            f"{source}: {RPN}objectness_logits.weight is not that of a caffe detector, with two "
            "scores per anchor. Do the weights belong to this configuration file?"
        )


def change_epsilon(weights: dict[str, Tensor], epsilon: float) -> None:
    """Puts normalizations that added `epsilon` to a variance into scales for a variance of 1, the runner's added."""
    for name in [name for name in weights if name.endswith("norm.running_var") or name.endswith("_bn.running_var")]:
        scale = name.removesuffix("running_var") + "weight"
        if scale in weights and weights[scale].shape == weights[name].shape:
            deviation = torch.sqrt(weights[name].double() + epsilon)
            weights[scale] = (weights[scale].double() / deviation).to(weights[scale].dtype)
            weights[name] = torch.full_like(weights[name], 1.0 - EPSILON)


def first_goes_last(rows: Tensor) -> Tensor:
    return torch.cat((rows[1:], rows[:1]))


def replace(weights: dict[str, Tensor], layer: str, change: Any) -> None:
    """Changes the rows of a layer's weight and bias, where the file has them."""
    for kind in ("weight", "bias"):
        if layer + kind in weights and weights[layer + kind].ndim:
            weights[layer + kind] = change(weights[layer + kind])
