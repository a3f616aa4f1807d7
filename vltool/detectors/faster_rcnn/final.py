"""A detector's own detections, by the rules of its configuration: detectron2's, or one of maskrcnn-benchmark's two."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import batched_nms

from vltool.detectors.faster_rcnn.config import DetectorConfig
from vltool.detectors.selection import final_detections

FILTER_OVERLAP = 0.3  # of NMS_FILTER 1, whatever MODEL.ROI_HEADS.NMS says
MOST_HALVINGS = 10


def own_detections(
    config: DetectorConfig, boxes: Tensor, class_probabilities: Tensor, *, pixel: float = 0.0
) -> tuple[Tensor, Tensor]:
    """(K,) regions and (K,) classes, best first.

    boxes: (P, C, 4) or (P, 1, 4), clipped. class_probabilities: (P, C + 1), background last.
    pixel: what belongs to a box's right and lower edge when overlaps are measured (caffe).
    """
    threshold, most = config["MODEL.ROI_HEADS.SCORE_THRESH_TEST"], config["TEST.DETECTIONS_PER_IMAGE"]
    fewest = config["BENCHMARK.MIN_DETECTIONS"]
    if config["BENCHMARK.NMS_FILTER"] == 1:
        rows, classes, scores = best_class_survivors(
            boxes, class_probabilities, score_threshold=threshold, num_wanted=fewest
        )
        count = int((scores >= threshold).sum())
        count = max(fewest, count if most < 0 else min(count, most))
        return rows[:count], classes[:count]
    for _ in range(1 + MOST_HALVINGS):
        rows, classes = final_detections(
            boxes,
            class_probabilities,
            score_threshold=threshold,
            nms_threshold=config["MODEL.ROI_HEADS.NMS_THRESH_TEST"],
            max_detections=most,
            pixel=pixel,
        )
        if len(rows) >= fewest:
            break
        threshold /= 2
    return rows, classes


def best_class_survivors(
    boxes: Tensor, class_probabilities: Tensor, *, score_threshold: float, num_wanted: int
) -> tuple[Tensor, Tensor, Tensor]:
    """(K,) regions, the most probable class of each in which it survives NMS, and (K,) its probability; best first.

    boxes and class_probabilities as in `own_detections`. A pair of region and class falls to more probable ones alone,
    so improbable pairs are looked at only where fewer than `num_wanted` regions reach `score_threshold`.
    """
    probabilities = class_probabilities[:, :-1]
    lowest = max(score_threshold, 0.0)
    while True:
        rows, classes = ((probabilities >= lowest) & (probabilities > 0)).nonzero(as_tuple=True)
        pairs = boxes[rows, classes if boxes.shape[1] > 1 else torch.zeros_like(classes)].float()
        scores = probabilities[rows, classes]
        order = scores.argsort(descending=True, stable=True)
        kept = order[batched_nms(pairs[order], scores[order], classes[order], FILTER_OVERLAP)]
        rows, classes, scores = rows[kept], classes[kept], scores[kept]
        is_first = first_of_each(rows)
        if int(is_first.sum()) >= num_wanted or lowest == 0:
            return rows[is_first], classes[is_first], scores[is_first]
        lowest = lowest / 8 if lowest > 1e-6 else 0.0


def first_of_each(values: Tensor) -> Tensor:
    """(N,) bool: no equal value comes before."""
    unique, inverse = torch.unique(values, return_inverse=True)
    positions = torch.arange(len(values), device=values.device)
    first = torch.full((len(unique),), len(values), device=values.device).scatter_reduce(0, inverse, positions, "amin")
    return first[inverse] == positions
