"""RefCOCO, RefCOCO+ and RefCOCOg: which region of the picture does an expression refer to?

Candidates are the detected regions (found if IoU > 0.5), or, `candidates: given`, the annotated boxes of the picture:
an easier question, under which the same model scores higher; the box source stands beside every score, and so does the
share that the candidates allow at best (`upper_bound`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from vltool.metrics.item_scores import ItemScores
from vltool.metrics.pointing import ABOVE_IOU, Pointed, finds, pointing_items
from vltool.structures import Example
from vltool.tasks.given_boxes import GivenBoxes
from vltool.tasks.pointing import Pointing
from vltool.tasks.task import RowView, Scores


class ReferringExpressions(Pointing):
    @dataclass(frozen=True)
    class Options(Pointing.Options):
        """candidates: what is pointed at. train_on_given: the annotated boxes stand beside the detected ones in
        training, as in 12-in-1; they need features (features.given_store). loss, widths: as of every pointing task."""

        candidates: Literal["detections", "given"] = "detections"
        train_on_given: bool = False

    def given_boxes(self, example: Example, *, training: bool) -> GivenBoxes | None:
        wanted = self.options.candidates == "given" or (training and self.options.train_on_given)
        return self.given(example) if wanted else None

    def candidates(self, example: Example, row: RowView) -> np.ndarray:
        first = row.num_detected if self.options.candidates == "given" else 0
        return np.arange(first, row.regions.num_regions)

    def right(self, example: Example, row: RowView) -> np.ndarray:
        return finds(row.regions.boxes[self.candidates(example, row)], self.meant(example, row))

    def items(self, pointed: Sequence[Pointed]) -> ItemScores:
        return pointing_items(pointed, upper_bound=True)

    def rules(self) -> dict[str, Any]:
        return {"boxes": self.options.candidates, "iou": f"> {ABOVE_IOU}"}

    def ignorance(
        self,
        split_examples: Sequence[Example],
        train_examples: Sequence[Example],
        rows: Callable[[Example], RowView],
    ) -> Scores:
        chances = []
        for example in split_examples:
            row = rows(example)
            if self.options.candidates == "given":
                given = self.given(example).within(row.regions.height, row.regions.width)
                chances.append(finds(given, self.meant(example, row)).mean())
            else:
                right = self.right(example, row)
                chances.append(right.mean() if len(right) else 0.0)
        return {"accuracy": 100 * float(np.mean(chances))}
