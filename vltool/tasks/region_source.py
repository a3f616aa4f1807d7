"""Where the regions of pictures come from, as batches and tasks see it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from vltool.structures import ImageId, RegionFeatures


class RegionSource(Protocol):
    """Where region features come from: a store, or a dictionary in a test.

    get: all that is known of a picture. views: gives a function like it, for features and boxes alone, which may lie in
    the store itself: they are valid within the `with` block.
    """

    def get(self, image_id: ImageId) -> RegionFeatures: ...

    def views(self) -> AbstractContextManager[Callable[[ImageId], RegionFeatures]]: ...
