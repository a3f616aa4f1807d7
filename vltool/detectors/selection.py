"""Which regions of a picture are kept: pure functions of arrays, and the recipes that are made of them.

`bottom-up` is the rule of bottom-up attention (Anderson et al. 2018; peteanderson80/bottom-up-attention,
tools/generate_tsv.py at 514e561): features stay those of the proposals, and a region is worth its best class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import batched_nms

from vltool.detectors.detector import Detections
from vltool.errors import ConfigError
from vltool.structures import ImageId, RegionFeatures

RECIPES = ("bottom-up", "bottom-up-36", "detections", "given-boxes")


@dataclass(frozen=True)
class Recipe:
    """A rule for keeping regions, and its numbers.

    min_boxes, max_boxes, score_threshold, nms_threshold: read by `bottom-up` alone; `bottom-up-36` keeps 36,
    `detections` follows the detector's configuration, `given-boxes` keeps what is given.
    """

    name: str = "bottom-up"
    min_boxes: int = 10
    max_boxes: int = 100
    score_threshold: float = 0.2
    nms_threshold: float = 0.3

    def __post_init__(self) -> None:
        if self.name not in RECIPES:
            raise ConfigError(f"--recipe {self.name!r}: choose {', '.join(RECIPES)}")
        if not 0 <= self.min_boxes <= self.max_boxes or self.max_boxes < 1:
            raise ConfigError(
                f"--min-boxes {self.min_boxes} --max-boxes {self.max_boxes}: needs 0 <= min <= max and max >= 1"
            )
        for option, value in (("--score-threshold", self.score_threshold), ("--nms-threshold", self.nms_threshold)):
            if not 0 <= value <= 1:
                raise ConfigError(f"{option} {value}: needs a number from 0 to 1")

    def numbers(self) -> dict[str, Any]:
        """What decides which regions are kept, as JSON values."""
        if self.name in ("detections", "given-boxes"):
            return {"name": self.name}
        low, high = (36, 36) if self.name == "bottom-up-36" else (self.min_boxes, self.max_boxes)
        return {
            "name": self.name,
            "min_boxes": low,
            "max_boxes": high,
            "score_threshold": self.score_threshold,
            "nms_threshold": self.nms_threshold,
        }


def select(recipe: Recipe, detections: Detections, image_id: ImageId) -> RegionFeatures:
    """The regions of a picture that a recipe keeps.

    `bottom-up` and `bottom-up-36` give proposal boxes, best score first, proposals of equal score in their order;
    `detections` the regressed boxes in the detector's order; `given-boxes` the boxes in the order given.
    """
    if recipe.name == "detections":
        rows, classes = detections.final_rows, detections.final_classes
        boxes, scores = detections.boxes_of(rows, classes), detections.class_probabilities[rows, classes]
    elif recipe.name == "given-boxes":
        rows = np.arange(detections.num_regions)
        classes = detections.class_probabilities[:, :-1].argmax(axis=1)
        boxes, scores = detections.proposal_boxes, detections.class_probabilities[rows, classes]
    else:
        numbers = recipe.numbers()
        num_wanted = min(numbers["min_boxes"], detections.num_regions)
        all_scores, all_classes = surviving_scores(
            detections.proposal_boxes,
            detections.class_probabilities,
            nms_threshold=recipe.nms_threshold,
            score_threshold=recipe.score_threshold,
            num_wanted=num_wanted,
        )
        rows = keep_by_score(
            all_scores,
            score_threshold=recipe.score_threshold,
            min_boxes=numbers["min_boxes"],
            max_boxes=numbers["max_boxes"],
        )
        boxes, scores, classes = detections.proposal_boxes[rows], all_scores[rows], all_classes[rows]
    return region_features(detections, rows, boxes=boxes, scores=scores, classes=classes, image_id=image_id)


def region_features(
    detections: Detections,
    rows: np.ndarray,
    *,
    boxes: np.ndarray,
    scores: np.ndarray,
    classes: np.ndarray,
    image_id: ImageId,
) -> RegionFeatures:
    """The record of the regions `rows`; the attribute of a region is its most probable one."""
    attributes = attribute_scores = None
    if detections.attribute_probabilities is not None:
        probabilities = detections.attribute_probabilities[rows]
        attributes = probabilities.argmax(axis=1).astype(np.int64)
        attribute_scores = probabilities.max(axis=1, initial=0.0).astype(np.float32)
    return RegionFeatures(
        image_id=image_id,
        features=detections.features[rows],
        boxes=boxes.astype(np.float32, copy=False),
        height=detections.height,
        width=detections.width,
        classes=classes.astype(np.int64, copy=False),
        scores=scores.astype(np.float32, copy=False),
        attributes=attributes,
        attribute_scores=attribute_scores,
    )


def surviving_scores(
    boxes: np.ndarray,
    class_probabilities: np.ndarray,
    *,
    nms_threshold: float,
    score_threshold: float,
    num_wanted: int,
) -> tuple[np.ndarray, np.ndarray]:
    """For every region its best probability among the classes in which it survives NMS, and that class.

    boxes: (P, 4). class_probabilities: (P, C + 1), background last and not considered. Within a class, a region
    falls if it overlaps a more probable surviving one by more than `nms_threshold` (IoU without "+1").
    Returns (P,) float32 scores, 0 where a region survives nowhere, and (P,) int64 classes (there: the most probable).

    A pair of region and class can only be felled by a more probable one, so pairs are looked at from the top down
    and no further than needed: exact for scores of `score_threshold` and more and for the best `num_wanted`
    regions; scores below that may be 0.
    """
    probabilities = class_probabilities[:, :-1]
    scores = np.zeros(len(boxes), dtype=np.float32)
    classes = probabilities.argmax(axis=1) if len(boxes) else np.zeros(0, dtype=np.int64)
    overlaps = box_overlaps(boxes) > nms_threshold
    lowest = score_threshold
    while len(boxes):
        rows, kept_classes = surviving_pairs(overlaps, probabilities, lowest=lowest)
        first_rows, first = np.unique(rows, return_index=True)  # pairs come best first
        scores[first_rows] = probabilities[first_rows, kept_classes[first]]
        classes[first_rows] = kept_classes[first]
        if len(first_rows) >= num_wanted or lowest == 0:
            break
        lowest = lowest / 8 if lowest > 1e-6 else 0.0
    return scores, classes.astype(np.int64)


def box_overlaps(boxes: np.ndarray) -> np.ndarray:
    """(P, P) intersection over union of boxes (P, 4), in float64 so that no threshold is missed by rounding."""
    boxes = boxes.astype(np.float64)
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    common = np.prod(np.clip(high - low, 0, None), axis=2)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    unions = areas[:, None] + areas[None, :] - common
    return np.divide(common, unions, out=np.zeros_like(common), where=unions > 0)


def surviving_pairs(overlaps: np.ndarray, probabilities: np.ndarray, *, lowest: float) -> tuple[np.ndarray, np.ndarray]:
    """(K,) regions and (K,) classes of the pairs of probability >= `lowest` that survive NMS, best first.

    overlaps: (P, P) bool, which regions suppress which. probabilities: (P, C). Pairs of equal probability come in
    the order of regions, then classes. All classes go down their rankings together, one rank at a time.
    """
    counts = (probabilities >= lowest).sum(axis=0)
    columns = np.nonzero(counts)[0]
    counts = counts[columns]
    order = np.argsort(-probabilities[:, columns], axis=0, kind="stable")  # (P, columns)
    fallen = np.zeros((len(columns), len(probabilities)), dtype=bool)
    rows, classes = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for rank in range(counts.max(initial=0)):
        active = np.nonzero(counts > rank)[0]
        candidates = order[rank, active]
        standing = ~fallen[active, candidates]
        active, candidates = active[standing], candidates[standing]
        fallen[active] |= overlaps[candidates]
        rows.append(candidates)
        classes.append(columns[active])
    all_rows, all_classes = np.concatenate(rows), np.concatenate(classes)
    best_first = np.lexsort((all_classes, all_rows, -probabilities[all_rows, all_classes]))
    return all_rows[best_first], all_classes[best_first]


def keep_by_score(scores: np.ndarray, *, score_threshold: float, min_boxes: int, max_boxes: int) -> np.ndarray:
    """(K,) the regions with score >= score_threshold, but at least the best min_boxes and at most the best max_boxes.

    Best first; regions of equal score in the order they came.
    """
    order = np.argsort(-scores, kind="stable")
    num_good = int((scores >= score_threshold).sum())
    return order[: min(max(num_good, min_boxes), max_boxes)]


def final_detections(
    boxes: Tensor,
    class_probabilities: Tensor,
    *,
    score_threshold: float,
    nms_threshold: float,
    max_detections: int,
    pixel: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """(K,) regions and (K,) classes that the detector itself would report, best first.

    boxes: (P, C, 4) or (P, 1, 4), clipped. class_probabilities: (P, C + 1), background last. A pair needs a
    probability above `score_threshold`; NMS within each class; the best `max_detections` (< 0: all); then boxes
    that are empty go. The steps are those of detectron2's `fast_rcnn_inference` and `detector_postprocess`.
    pixel: what belongs to a box's right and lower edge when overlaps are measured (caffe).
    """
    finite = torch.isfinite(boxes).all(dim=2).all(dim=1) & torch.isfinite(class_probabilities).all(dim=1)
    rows, classes = ((class_probabilities[:, :-1] > score_threshold) & finite[:, None]).nonzero(as_tuple=True)
    pair_boxes = boxes[rows, classes if boxes.shape[1] > 1 else torch.zeros_like(classes)]
    scores = class_probabilities[rows, classes]
    outer = pair_boxes.float() + pair_boxes.new_tensor((0.0, 0.0, pixel, pixel)).float()
    kept = best_survivors(outer, scores, classes, nms_threshold, num_wanted=max_detections)
    if max_detections >= 0:
        kept = kept[:max_detections]
    widths, heights = (pair_boxes[kept, 2:] - pair_boxes[kept, :2]).unbind(dim=1)
    kept = kept[(widths > 0) & (heights > 0)]
    return rows[kept], classes[kept]


def best_survivors(boxes: Tensor, scores: Tensor, classes: Tensor, threshold: float, *, num_wanted: int) -> Tensor:
    """Rows that survive NMS within their class, best first: all (num_wanted < 0), or at least that many if there are.

    What a row falls to is always better than it, so the rows from some score down need not be looked at; a caffe
    detector has no score threshold, and 480,000 rows.
    """
    order = scores.argsort(descending=True, stable=True)
    count = len(order) if num_wanted < 0 else 20_000
    while True:
        top = order[:count]
        kept = top[batched_nms(boxes[top], scores[top], classes[top], threshold)]
        if count >= len(order) or (0 <= num_wanted <= len(kept)):
            return kept
        count *= 4
