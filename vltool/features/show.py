"""One picture's regions for people, and as arrays for other programs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vltool.errors import DataError
from vltool.features.folder import expanded
from vltool.features.store import RegionStore
from vltool.json_files import whole_file


def describe(path: str | Path, image_id: str) -> dict[str, Any]:
    """The regions of a picture as JSON values, classes and attributes by name where the store knows the names."""
    with RegionStore.open(path) as store:
        regions, source, header = store.get(image_id), store.source(image_id), store.header
    rows = []
    for row in range(regions.num_regions):
        rows.append(
            {
                "box": [round(float(value), 2) for value in regions.boxes[row]],
                "class": name_of(regions.classes, row, header["class_names"]),
                "score": number_of(regions.scores, row),
                "attribute": name_of(regions.attributes, row, header["attribute_names"]),
                "attribute_score": number_of(regions.attribute_scores, row),
            }
        )
    return {
        "image_id": image_id,
        "width": regions.width,
        "height": regions.height,
        "num_regions": regions.num_regions,
        "feature_dim": int(regions.features.shape[1]),
        "dtype": str(regions.features.dtype),
        "source": source,
        "regions": rows,
    }


def name_of(ids: np.ndarray | None, row: int, names: Sequence[str]) -> str | None:
    """The name of a region's class; its number where there are no names; None where there is no class."""
    if ids is None:
        return None
    number = int(ids[row])
    return names[number] if 0 <= number < len(names) else str(number)


def number_of(values: np.ndarray | None, row: int) -> float | None:
    return None if values is None else round(float(values[row]), 6)


def save_npz(path: str | Path, image_id: str, out: str | Path) -> None:
    """Writes the arrays features, boxes, classes, scores, attributes, attribute_scores, and height and width.

    An array that the store does not have is written with length 0.
    """
    with RegionStore.open(path) as store:
        regions = store.get(image_id)
    names = ("features", "boxes", "classes", "scores", "attributes", "attribute_scores")
    arrays = {name: getattr(regions, name) for name in names}
    arrays = {name: np.zeros(0, np.float32) if array is None else array for name, array in arrays.items()}
    out = expanded(out)
    try:
        with whole_file(out) as file:
            np.savez(file, **arrays, height=np.int64(regions.height), width=np.int64(regions.width))
    except OSError as error:
        raise DataError(f"{out}: cannot be written: {error.strerror}. Check the path and that there is room") from error
