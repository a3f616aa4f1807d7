"""Trained weights from a file, and into a network.

`.pth` and `.pkl` are pickles and can carry code; here nothing but arrays and plain containers is let through.
detectron2's files are `{"model": {"backbone.stem.conv1.weight": array, ...}, ...}`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vltool.errors import CheckpointError
from vltool.weights_file import read_content

# Found in detectron2's files and without effect on boxes, classes and features.
IGNORED_PREFIXES = (
    "pixel_mean",
    "pixel_std",
    "roi_heads.mask_head.",
    "roi_heads.keypoint_head.",
    "roi_heads.mask_pooler.",
)
IGNORED_SUFFIXES = (".num_batches_tracked",)
ANCHORS = "anchor_generator.cell_anchors."


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The named arrays of a `.pth`, `.pkl` or `.safetensors` file, without running anything in it.

    Raises CheckpointError where the file is missing, is not a checkpoint, or holds more than plain data.
    """
    path = Path(os.path.expanduser(path))
    content = read_content(path, next_step="name a local file with --weights")
    return named_tensors(content, path)


def named_tensors(content: Any, path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint's content, with or without its {"model": ...} around them."""
    if isinstance(content, dict) and isinstance(content.get("model"), dict):
        has_heads = any(str(name).startswith("roi_heads.") for name in content["model"])
        if content.get("matching_heuristics") and not has_heads:  # some converted detectors carry the mark as well
            raise CheckpointError(f"{path}: a backbone to start a training from (matching_heuristics), not a detector")
        content = content["model"]
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: expected a mapping of names to arrays, found {type(content).__name__}")
    tensors: dict[str, Tensor] = {}
    for name, value in content.items():
        if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
            value = torch.from_numpy(np.array(value))  # a copy: a pickle's arrays may be read-only
        if not isinstance(name, str) or not isinstance(value, Tensor):
            kind = f"{type(value).__name__} of {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
            raise CheckpointError(f"{path}: {name!r:.80} is a {kind}, expected a name and an array of numbers")
        tensors[name] = value
    if not tensors:
        raise CheckpointError(f"{path}: holds no weights")
    return tensors


def load_into(
    network: nn.Module,
    weights: dict[str, Tensor],
    *,
    source: str,
    anchors: Iterable[Tensor] = (),
    name_in_file: Callable[[str], str] = str,
) -> None:
    """Puts named weights into a network, all of them, each of the right shape.

    anchors: those of the configuration, which old files also hold; they must agree.
    name_in_file: what a parameter is called in the file, where that is something else.
    Raises CheckpointError naming the first parameter that is missing, left over, of another shape or not finite.
    """
    expected = network.state_dict()
    if not any(name in expected for name in weights):
        prefixes = sorted({name.split(".")[0] for name in weights})[:4]
        raise CheckpointError(
            f"{source}: none of its {len(weights)} names ({', '.join(prefixes)}, ...) belongs to this network "
            f"(backbone, proposal_generator, roi_heads). Is it a detectron2 detector?"
        )
    weights = complete_norms(weights, expected)
    check_parameters(weights, expected, source=source, name_in_file=name_in_file)
    check_leftover(set(weights) - set(expected), weights, source=source, name_in_file=name_in_file)
    check_anchors(weights, list(anchors), source)
    network.load_state_dict({name: weights[name] for name in expected})


def check_parameters(
    weights: dict[str, Tensor],
    expected: dict[str, Tensor],
    *,
    source: str,
    name_in_file: Callable[[str], str] = str,
) -> None:
    """Raises CheckpointError unless every expected parameter is there, of its shape, in finite numbers."""
    for name, tensor in expected.items():
        known = name_in_file(name)
        if name not in weights:
            raise CheckpointError(
                f"{source}: no parameter {known}, expected with shape {tuple(tensor.shape)}. "
                "Do the weights belong to this configuration file?"
            )
        if weights[name].shape != tensor.shape:
            raise CheckpointError(
                f"{source}: parameter {known}: expected shape {tuple(tensor.shape)} by the configuration, "
                f"found {tuple(weights[name].shape)}"
            )
        if weights[name].is_complex() or weights[name].layout != torch.strided or weights[name].is_quantized:
            raise CheckpointError(f"{source}: parameter {known}: expected plain numbers, found {weights[name].dtype}")
        if not bool(torch.isfinite(weights[name]).all()):
            raise CheckpointError(f"{source}: parameter {known} holds numbers that are not finite: a broken training?")


def complete_norms(weights: dict[str, Tensor], expected: dict[str, Tensor]) -> dict[str, Tensor]:
    """Adds the statistics of normalizations that were already merged into weight and bias (caffe's, old detectron2)."""
    completed = dict(weights)
    for name, tensor in expected.items():
        if name.endswith(".norm.running_mean") and name not in completed:
            stem = name.removesuffix("running_mean")
            if stem + "weight" in completed and stem + "running_var" not in completed:
                completed[name] = torch.zeros_like(tensor)
                completed[stem + "running_var"] = torch.ones_like(tensor)  # as detectron2 completes them
    return completed


def check_leftover(
    names: set[str],
    weights: dict[str, Tensor],
    *,
    source: str,
    name_in_file: Callable[[str], str] = str,
    ignored: tuple[str, ...] = (),
) -> None:
    """Raises CheckpointError for a parameter that no network takes, unless it has no effect or is `ignored`."""
    for name in sorted(names):
        if name.startswith((*IGNORED_PREFIXES, *ignored)) or name.endswith(IGNORED_SUFFIXES) or ANCHORS in name:
            continue
        hint = " (set MODEL.ATTRIBUTE_ON: True?)" if "attribute" in name else ""
        raise CheckpointError(
            f"{source}: parameter {name_in_file(name)} of shape {tuple(weights[name].shape)} has no place in the "
            f"network of this configuration{hint}. Do the weights belong to this configuration file?"
        )


def check_anchors(weights: dict[str, Tensor], anchors: list[Tensor], source: str) -> None:
    """Raises CheckpointError if the file was trained with other anchors than the configuration gives.

    Today's detectron2 drops the anchors of old files without a word, and the boxes come out wrong.
    """
    for level, expected in enumerate(anchors):
        for name, found in weights.items():
            if not name.endswith(f"{ANCHORS}{level}"):
                continue
            if found.shape != expected.shape or not torch.allclose(found.float(), expected, atol=1e-2):
                raise CheckpointError(
                    f"{source}: {name} holds other anchors than MODEL.ANCHOR_GENERATOR gives: expected "
                    f"{expected.tolist()[:2]}..., found {found.tolist()[:2]}..."
                )
