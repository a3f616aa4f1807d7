"""Two stores of the same pictures, region by region: how far apart are two detectors, recipes or number formats?

Regions are compared row by row where the boxes of both agree within a pixel, and otherwise by place: pairs of boxes
in the order of their overlap, each box in one pair at most, and only pairs that overlap by half.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vltool.errors import DataError
from vltool.features.store import RegionStore
from vltool.metrics.localization import box_iou
from vltool.structures import RegionFeatures

SAME_ROWS_PX = 1.0
MIN_IOU = 0.5
NUM_WORST = 20


@dataclass(frozen=True)
class ImageComparison:
    """How two stores differ on a picture; over its pairs of regions, None where there is no pair.

    iou: mean overlap of a box of either store with the best box of the other. max_difference: the largest difference of
    one number of paired features. cosine, min_cosine: mean and smallest over the pairs. same_class: share of pairs.
    """

    image_id: str
    regions_a: int
    regions_b: int
    pairs: int
    iou: float
    max_difference: float | None
    cosine: float | None
    min_cosine: float | None
    same_class: float | None


def compare(a: str | Path, b: str | Path, *, progress: Callable[[int, int], None] | None = None) -> dict[str, Any]:
    """What two stores have in common, JSON values.

    {"images", "only_in_a", "only_in_b", "feature_dim": [a, b], "fingerprint": [a, b], "equal": images whose boxes and
    features are the same numbers, "regions": [a, b], "pairs", "max_difference", "cosine", "min_cosine", "iou",
    "same_class", "per_image": [as ImageComparison]}; cosine, iou and same_class are means over images.
    Raises DataError where the stores have no image in common.
    """
    with RegionStore.open(a) as store_a, RegionStore.open(b) as store_b:
        ids_a, ids_b = store_a.image_ids(), set(store_b.image_ids())
        common = [image_id for image_id in ids_a if image_id in ids_b]
        if not common:
            raise DataError(
                f"{store_a.path} ({len(ids_a):,} images, {example(ids_a)}) and {store_b.path} ({len(ids_b):,} images, "
                f"{example(sorted(ids_b))}) have no image in common; were they made with the same --image-id?"
            )
        found = []
        for number, item in enumerate(compare_images(store_a, store_b, common)):
            found.append(item)
            if progress is not None:
                progress(number + 1, len(common))
        return {
            "images": len(common),
            "only_in_a": len(ids_a) - len(common),
            "only_in_b": len(ids_b) - len(common),
            "feature_dim": [store_a.feature_dim, store_b.feature_dim],
            "fingerprint": [store_a.header["fingerprint"], store_b.header["fingerprint"]],
            **summary(found),
            "per_image": [asdict(item) for item in found],
        }


def example(image_ids: list[Any]) -> str:
    return f"as {image_ids[0]}" if image_ids else "none"


def compare_images(store_a: RegionStore, store_b: RegionStore, image_ids: list[Any]) -> Iterator[ImageComparison]:
    """The comparison of each picture that both stores have."""
    for image_id in image_ids:
        yield compare_image(store_a.get(image_id), store_b.get(image_id))


def compare_image(a: RegionFeatures, b: RegionFeatures) -> ImageComparison:
    """How two descriptions of one picture differ."""
    boxes_a, boxes_b = in_one_frame(a, b)
    iou = box_iou(boxes_a, boxes_b)  # (A, B)
    rows_a, rows_b = pairs_of(boxes_a, boxes_b, iou)
    difference = cosine = same_class = None
    if len(rows_a) and a.features.shape[1] == b.features.shape[1]:
        left, right = a.features[rows_a].astype(np.float64), b.features[rows_b].astype(np.float64)  # (pairs, D)
        difference = float(np.abs(left - right).max())
        lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
        cosine = np.divide((left * right).sum(1), lengths, out=(left == right).all(1).astype(float), where=lengths > 0)
    if len(rows_a) and a.classes is not None and b.classes is not None:
        same_class = float((a.classes[rows_a] == b.classes[rows_b]).mean())
    if not a.num_regions and not b.num_regions:
        best = np.ones(1)  # they agree that there is nothing
    else:
        best = np.concatenate([iou.max(axis=1), iou.max(axis=0)]) if iou.size else np.zeros(1)
    return ImageComparison(
        image_id=a.image_id,
        regions_a=a.num_regions,
        regions_b=b.num_regions,
        pairs=len(rows_a),
        iou=float(best.mean()),
        max_difference=difference,
        cosine=None if cosine is None else float(cosine.mean()),
        min_cosine=None if cosine is None else float(cosine.min()),
        same_class=same_class,
    )


def in_one_frame(a: RegionFeatures, b: RegionFeatures) -> tuple[np.ndarray, np.ndarray]:
    """Both pictures' boxes in pixels of the larger one; features without the picture's size count it as 1 x 1."""
    size_a, size_b = np.array([a.width, a.height]), np.array([b.width, b.height])
    size = np.tile(np.maximum(size_a, size_b), 2)
    return a.boxes.astype(np.float64) * (size / np.tile(size_a, 2)), b.boxes * (size / np.tile(size_b, 2))


def pairs_of(boxes_a: np.ndarray, boxes_b: np.ndarray, iou: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of a and of b that belong together."""
    if boxes_a.shape == boxes_b.shape and np.allclose(boxes_a, boxes_b, rtol=0, atol=SAME_ROWS_PX):
        rows = np.arange(len(boxes_a))
        return rows, rows
    order = np.argsort(-iou, axis=None, kind="stable")
    pairs: list[tuple[int, int]] = []
    free_a, free_b = np.ones(len(boxes_a), bool), np.ones(len(boxes_b), bool)
    for place in order:
        row_a, row_b = np.unravel_index(place, iou.shape)
        if iou[row_a, row_b] < MIN_IOU:
            break
        if free_a[row_a] and free_b[row_b]:
            free_a[row_a] = free_b[row_b] = False
            pairs.append((int(row_a), int(row_b)))
    rows_a, rows_b = zip(*sorted(pairs), strict=True) if pairs else ((), ())
    return np.array(rows_a, int), np.array(rows_b, int)


def summary(found: list[ImageComparison]) -> dict[str, Any]:
    """Over all pictures."""

    def values(name: str) -> list[float]:
        return [value for value in (getattr(item, name) for item in found) if value is not None]

    def mean(name: str) -> float | None:
        return float(np.mean(values(name))) if values(name) else None

    unchanged = [
        item
        for item in found
        if item.pairs == item.regions_a == item.regions_b and (item.max_difference == 0 or not item.pairs)
    ]
    return {
        "equal": len(unchanged),
        "regions": [sum(item.regions_a for item in found), sum(item.regions_b for item in found)],
        "pairs": sum(item.pairs for item in found),
        "max_difference": max(values("max_difference"), default=None),
        "cosine": mean("cosine"),
        "min_cosine": min(values("min_cosine"), default=None),
        "iou": mean("iou"),
        "same_class": mean("same_class"),
    }


def worst(per_image: list[dict[str, Any]], count: int = NUM_WORST) -> list[dict[str, Any]]:
    """The pictures that differ most: by cosine, then by overlap of the boxes."""

    def similarity(item: dict[str, Any]) -> tuple[float, float]:
        return (-1.0 if item["cosine"] is None else item["cosine"], item["iou"])

    return sorted(per_image, key=similarity)[:count]
