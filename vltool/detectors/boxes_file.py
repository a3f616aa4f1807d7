"""Boxes that somebody drew, one list per picture: where features are pooled by the recipe `given-boxes`.

{"coco:391895": [[359.2, 146.2, 471.6, 359.7], ...], ...}
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vltool.errors import ConfigError, DataError

BOX_FORMATS = ("xyxy", "xywh")


def read_boxes(path: str | Path | None, box_format: str | None, *, recipe: str) -> dict[str, np.ndarray] | None:
    """(R, 4) float32 boxes x1 y1 x2 y2 by image id; None where the recipe needs none.

    box_format: what the four numbers are; it has no default, for both are common and neither shows.
    Raises ConfigError for options that do not fit together, DataError for a file that cannot be read.
    """
    if recipe != "given-boxes":
        if path is not None or box_format is not None:
            raise ConfigError(f"--boxes and --box-format go with --recipe given-boxes, not with {recipe}")
        return None
    if path is None:
        raise ConfigError("--recipe given-boxes needs --boxes FILE.json: {image_id: [[four numbers], ...]}")
    if box_format not in BOX_FORMATS:
        raise ConfigError("--boxes needs --box-format xyxy (x1 y1 x2 y2) or xywh (x1 y1 width height)")
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot read the boxes: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a JSON file of boxes: {error}") from error
    if not isinstance(content, Mapping):
        raise DataError(f"{path}: expected {{image_id: [[four numbers], ...]}}, found {type(content).__name__}")
    return {image_id: corners(boxes, box_format, f"{path}: {image_id}") for image_id, boxes in content.items()}


def corners(boxes: object, box_format: str, where: str) -> np.ndarray:
    """(R, 4) float32 x1 y1 x2 y2 of boxes in either format. Raises DataError naming the first box that is none."""
    numbers = isinstance(boxes, list) and all(
        isinstance(box, list) and all(type(value) in (int, float) for value in box) for box in boxes
    )
    try:
        array = np.asarray(boxes if numbers else None, dtype=np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{where}: expected a list of boxes of four numbers each, found {boxes!r:.80}") from error
    if numbers and array.size == 0:
        return np.zeros((0, 4), dtype=np.float32)
    if array.ndim != 2 or array.shape[1] != 4 or not np.isfinite(array).all():
        raise DataError(f"{where}: expected a list of boxes of four numbers each, found {boxes!r:.80}")
    if box_format == "xywh":
        array = np.concatenate((array[:, :2], array[:, :2] + array[:, 2:]), axis=1)
    empty = (array[:, 2:] <= array[:, :2]).any(axis=1)
    if empty.any():
        number = int(empty.argmax())
        raise DataError(
            f"{where}: box {number} is {array[number].tolist()} as x1 y1 x2 y2, which is empty. "
            f"Is --box-format {box_format} right?"
        )
    return array
