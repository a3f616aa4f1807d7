"""A picture and its resized copy: boxes from one into the other."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from vltool.detectors.faster_rcnn.boxes import clip, scale


@dataclass(frozen=True)
class Frame:
    """height, width: of the original picture. factor_x, factor_y: how many pixels of the resized one its pixels are.

    last_x, last_y: how far a box can reach in the resized picture.
    """

    height: int
    width: int
    factor_x: float
    factor_y: float
    last_x: float
    last_y: float

    def clip(self, boxes: Tensor) -> Tensor:
        """Boxes (..., 4) of the resized picture cut to it."""
        return clip(boxes, height=self.last_y, width=self.last_x)

    def resized(self, boxes: Tensor) -> Tensor:
        """Boxes (..., 4) of the original picture in the resized one."""
        return scale(boxes, self.factor_x, self.factor_y)

    def original(self, boxes: Tensor) -> Tensor:
        """Boxes (..., 4) of the resized picture in the original one, cut to it."""
        return clip(scale(boxes, 1 / self.factor_x, 1 / self.factor_y), height=self.height, width=self.width)
