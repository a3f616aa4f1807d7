"""What every detector gives: regions of one picture, before a recipe chooses among them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from vltool.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Detections:
    """The regions of one picture. Boxes are x1 y1 x2 y2 in pixels of the original picture, height x width.

    proposal_boxes: (P, 4) float32, where the features were pooled, best first; or the boxes that were given.
    proposal_logits: (P,) float32 objectness; None for given boxes.
    features: (P, D) float32.
    class_probabilities: (P, C + 1) float32, the background last.
    regressed_boxes: (P, C, 4) float32, or (P, 1, 4) where one box serves all classes.
    attribute_probabilities: (P, A) float32; None without an attribute head.
    final_rows, final_classes: (K,) int64, the detector's own detections as pairs of region and class, best first.
    """

    proposal_boxes: np.ndarray
    features: np.ndarray
    class_probabilities: np.ndarray
    regressed_boxes: np.ndarray
    final_rows: np.ndarray
    final_classes: np.ndarray
    height: int
    width: int
    proposal_logits: np.ndarray | None = None
    attribute_probabilities: np.ndarray | None = None

    @property
    def num_regions(self) -> int:
        return int(self.proposal_boxes.shape[0])

    @property
    def num_classes(self) -> int:
        """Without the background."""
        return int(self.class_probabilities.shape[1]) - 1

    def boxes_of(self, rows: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """(K, 4) the regressed boxes of pairs of region and class."""
        if self.regressed_boxes.shape[1] == 1:
            return self.regressed_boxes[rows, 0]
        return self.regressed_boxes[rows, classes]


class Detector(Protocol):
    """A trained detector. It can be pickled, and its copy in another process gives the same regions."""

    name: str  # of the network, for people
    backend: str  # "builtin" or "detectron2"
    feature_dim: int
    num_parameters: int
    fingerprint: str  # hash of configuration and weights: equal fingerprints, equal regions
    precision: str  # "float32" or "bfloat16"
    class_names: tuple[str, ...]  # C names; () where nobody told
    attribute_names: tuple[str, ...]

    @property
    def device(self) -> str:
        """ "cpu", or the kind of accelerator that the network is on."""
        ...

    def detect(self, image: np.ndarray) -> Detections:
        """The regions that the detector proposes. image: (H, W, 3) uint8 RGB."""
        ...

    def detect_at(self, image: np.ndarray, boxes: np.ndarray) -> Detections:
        """The same about given boxes (P, 4), in their order. image: (H, W, 3) uint8 RGB."""
        ...

    def detect_batch(self, images: Sequence[np.ndarray], boxes: Sequence[np.ndarray] | None) -> list[Detections]:
        """The same as `detect`, or as `detect_at` where boxes are given, of several pictures of one size."""
        ...

    def describe(self) -> dict[str, Any]:
        """What a feature store should remember of the detector, as JSON values."""
        ...


def description(detector: Detector, configuration: Any) -> dict[str, Any]:
    """What a feature store should remember of a detector with this configuration, as JSON values."""
    return {
        "name": detector.name,
        "backend": detector.backend,
        "fingerprint": detector.fingerprint,
        "precision": detector.precision,
        "feature_dim": detector.feature_dim,
        "config": configuration,
        "class_names": list(detector.class_names),
        "attribute_names": list(detector.attribute_names),
    }


def array_of(tensor: Tensor | None) -> Any:
    """A tensor's numbers as float32 or int64 for numpy; None stays None."""
    if tensor is None:
        return None
    return (tensor.float() if tensor.is_floating_point() else tensor).cpu().numpy()


def fingerprint_of(configuration: str, weights: Mapping[str, Tensor]) -> str:
    """Hash (SHA-256, 32 hex digits) of a configuration and named weights, whatever file they came from."""
    digest = hashlib.sha256(configuration.encode())
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(tensor.dtype).numpy().tobytes())
    return digest.hexdigest()[:32]


def check_image(image: np.ndarray) -> np.ndarray:
    """The picture if a detector can take it: (H, W, 3) uint8. Raises DataError otherwise."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise DataError(
            f"a detector takes pictures of shape (height, width, 3) in uint8, found {image.shape} in {image.dtype}. "
            "vltool.features.images.read_image makes one of any file"
        )
    return np.ascontiguousarray(image)


def check_boxes(boxes: np.ndarray, *, height: int, width: int) -> np.ndarray:
    """(P, 4) float32 boxes of positive size within a picture. Raises DataError naming the first that is not.

    One pixel outside is let pass: annotations count pixels from 0 or from 1.
    """
    boxes = np.asarray(boxes, dtype=np.float32)
    if boxes.size == 0:
        return boxes.reshape(0, 4)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise DataError(f"boxes of shape {boxes.shape}, expected (number of boxes, 4): x1 y1 x2 y2 in pixels")
    for box in boxes:
        x1, y1, x2, y2 = (float(value) for value in box)
        if not (-1 <= x1 < x2 <= width + 1 and -1 <= y1 < y2 <= height + 1):
            raise DataError(
                f"box {[x1, y1, x2, y2]} does not lie in a picture of {width} x {height} pixels, or is empty. "
                "Boxes are x1 y1 x2 y2; with --box-format xywh: x1 y1 width height"
            )
    return boxes
