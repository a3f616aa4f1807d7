"""The nouns that every room shares: an image's id, its region features, an example, a batch, a joint state.

Nothing here computes; torch is imported for its types only, so that reading a store needs no torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, NewType

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import Tensor

ImageId = NewType("ImageId", str)
"""Canonical name of a picture across datasets: `coco:391895`, `flickr30k:1000092795`, `world:17`, `file:photo`."""


@dataclass(frozen=True)
class RegionFeatures:
    """One image as the detector left it.

    features: (R, D) float16 or float32. boxes: (R, 4) float32, x1 y1 x2 y2 in pixels of the original image
    (after EXIF orientation), whose size is height x width. classes and attributes: (R,) int64 ids or None;
    scores and attribute_scores: (R,) float32 or None.
    """

    image_id: ImageId
    features: np.ndarray
    boxes: np.ndarray
    height: int
    width: int
    classes: np.ndarray | None = None
    scores: np.ndarray | None = None
    attributes: np.ndarray | None = None
    attribute_scores: np.ndarray | None = None

    @property
    def num_regions(self) -> int:
        return int(self.features.shape[0])


@dataclass(frozen=True)
class Example:
    """One question for one task: the image-sentence pairs to encode and what is private to the task.

    rows: pairs (image, sentence); 1 for VQA and grounding, 2 for NLVR2, 1 + negatives for retrieval.
    target: read by the task alone.
    """

    example_id: str
    rows: tuple[tuple[ImageId, str], ...]
    target: Any

    @property
    def image_ids(self) -> tuple[ImageId, ...]:
        return tuple(dict.fromkeys(image_id for image_id, _ in self.rows))


@dataclass
class Batch:
    """B examples. Every distinct image (U of them) and sentence (V) is held, padded and embedded once.

    regions (U, R, D)   region_mask (U, R) bool, True = real   boxes (U, R, 5): x1/W y1/H x2/W y2/H area share
    tokens  (V, T) long token_mask  (V, T) bool, True = real
    rows    (N, 2) long: which image, which sentence; N = B * rows per example
    inputs:  what a decoder needs beside the joint state (phrase spans); first dimension B
    targets: what the loss compares with; first dimension B
    """

    regions: Tensor
    region_mask: Tensor
    boxes: Tensor
    tokens: Tensor
    token_mask: Tensor
    rows: Tensor
    example_ids: tuple[str, ...]
    image_ids: tuple[ImageId, ...]
    inputs: dict[str, Tensor] = field(default_factory=dict)
    targets: dict[str, Tensor] = field(default_factory=dict)

    @property
    def num_examples(self) -> int:
        return len(self.example_ids)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch with every tensor on `device`."""
        moved: dict[str, Any] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if hasattr(value, "to"):
                moved[item.name] = value.to(device, non_blocking=True)
            elif isinstance(value, dict):
                moved[item.name] = {name: tensor.to(device, non_blocking=True) for name, tensor in value.items()}
        return replace(self, **moved)


@dataclass
class JointState:
    """(S_l, I_l) of the paper for N image-sentence rows.

    text (N, T, text_width), image (N, R, image_width); masks are bool, True = real. Some encoders put positions of
    their own in front of each side ([CLS], a task token, the mean region): num_leading_tokens and num_leading_regions.
    `words` and `regions` are the batch's own.
    """

    text: Tensor
    image: Tensor
    token_mask: Tensor
    region_mask: Tensor
    num_leading_tokens: int = 0
    num_leading_regions: int = 0

    @property
    def words(self) -> Tensor:
        """(N, T, text_width) of the sentence's own tokens, in their order."""
        return self.text[:, self.num_leading_tokens :]

    @property
    def regions(self) -> Tensor:
        """(N, R, image_width) of the picture's own regions, in the order of the store."""
        return self.image[:, self.num_leading_regions :]


@dataclass(frozen=True)
class TaskPlan:
    """What the layer search finds for one task and Algorithm 1 consumes (section 4.2 of the paper).

    level: l(i), 1-based. num_updates: #iter_i. step_size: #step_i, updates between halvings of the learning
    rate. first_stage: the curriculum stage in which the task joins (0: from the start).
    """

    task: str
    level: int
    num_updates: int
    batch_size: int
    step_size: int
    first_stage: int = 0
