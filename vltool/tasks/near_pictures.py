"""Captions of pictures that look like another: negatives that are hard whatever the network knows.

Nearness is the distance between mean region features, over the training pictures of the run alone, so that no picture
that is kept out of training lends its caption. 12-in-1 draws from the 100 nearest (script/generate_pool.py of
facebookresearch/vilbert-multi-task at f22b84a).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from vltool.errors import DataError
from vltool.structures import Example, ImageId

if TYPE_CHECKING:
    from vltool.tasks.region_source import RegionSource

_AT_ONCE = 1024


class NearPictures:
    """The captions of each training picture's nearest others.

    count: how many pictures are near, at most all others. Raises DataError where there is no other picture.
    """

    def __init__(self, examples: Sequence[Example], regions: RegionSource, *, count: int):
        self.examples = examples
        captions: dict[ImageId, list[str]] = {}
        for example in examples:
            captions.setdefault(example.rows[0][0], []).append(example.rows[0][1])
        if len(captions) < 2:
            raise DataError("negatives of near pictures need two training pictures at least")
        self._places = {image_id: place for place, image_id in enumerate(captions)}
        self._captions = list(captions.values())
        with regions.views() as view:
            means = np.stack([mean_feature(view(image_id).features) for image_id in captions])
        self._nearest = nearest_others(means, min(count, len(captions) - 1))

    def caption(self, image_id: ImageId, generator: np.random.Generator) -> str:
        """A caption of a picture near `image_id`, and none of its own; where all are its own, of a picture afar."""
        place = self._places[image_id]
        own = set(self._captions[place])
        for places in (self._nearest[place], np.arange(len(self._captions))):
            found = [text for k in places.tolist() for text in self._captions[k] if text not in own]
            if found:
                return found[int(generator.integers(len(found)))]
        raise DataError(f"image {image_id!r}: every caption of the training data is its own; there is no wrong one")


def mean_feature(features: np.ndarray) -> np.ndarray:
    """(D,) float32, the mean of a picture's regions (R, D); zeros where it has none, as its mean region is."""
    return features.sum(axis=0, dtype=np.float32) / max(1, len(features))


def nearest_others(points: np.ndarray, count: int) -> np.ndarray:
    """(N, count) places of the nearest other points of each, by Euclidean distance, nearest first. points: (N, D)."""
    squares = (points**2).sum(axis=1)
    found = np.empty((len(points), count), np.int32)
    for start in range(0, len(points), _AT_ONCE):
        chosen = slice(start, min(start + _AT_ONCE, len(points)))
        distances = squares[None, :] - 2 * points[chosen] @ points.T  # less the own square, the same for all
        distances[np.arange(len(distances)), np.arange(chosen.start, chosen.stop)] = np.inf
        part = np.argpartition(distances, count - 1, axis=1)[:, :count]
        order = np.take_along_axis(distances, part, axis=1).argsort(axis=1, kind="stable")
        found[chosen] = np.take_along_axis(part, order, axis=1)
    return found
