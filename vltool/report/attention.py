"""What the decoders look at: picks test examples, runs the model on them and gives the arrays that figures show.

Examples are taken evenly from the whole split, then the first right and the first wrong ones in turn, each about
another picture while there are enough: nobody chooses them by hand. A kind of task joins with one function registered
on `candidates`; task_exhibits.py holds those of the paper's three.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from vltool.models.joint_model import JointModel
from vltool.structures import Example, ImageId, RegionFeatures
from vltool.tasks.batching import Batching
from vltool.tasks.task import RowView, Task

NUM_CANDIDATES = 48
"""Examples (or pairs of questions) of a task that are tried before some are shown."""

Item = TypeVar("Item")
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Mark:
    """A phrase and the region it was taken for. span: [start, end) over tokens.

    right, truth: whether the region is, and the annotated boxes; None and none where nobody has annotated.
    """

    phrase: str
    span: tuple[int, int]
    box: Box
    probability: float
    right: bool | None
    truth: tuple[Box, ...]


@dataclass(frozen=True)
class Panel:
    """One picture with one sentence. boxes (R, 4) in pixels of the original image, which is height x width.

    region_names: what the detector takes the R regions for, or nothing. region_weights (R,) and word_weights (T,): the
    decoder's attention, each summing to one; None where it has none.
    """

    image_id: ImageId
    height: int
    width: int
    boxes: np.ndarray
    tokens: tuple[str, ...]
    region_names: tuple[str, ...] = ()
    region_weights: np.ndarray | None = None
    word_weights: np.ndarray | None = None
    marks: tuple[Mark, ...] = ()
    heading: str = ""
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Exhibit:
    """One figure: a panel, or several side by side. right: whether the model was; None where that is not asked.

    columns: how many panels are a row; 0: all of them.
    """

    task: str
    title: str
    right: bool | None
    panels: tuple[Panel, ...]
    columns: int = 0

    @property
    def image_ids(self) -> set[ImageId]:
        return {panel.image_id for panel in self.panels}


@dataclass(frozen=True)
class Looker:
    """A model that is asked about examples of one task. Names: of the detector's classes and attributes, by id."""

    model: JointModel
    batching: Batching
    device: torch.device
    class_names: tuple[str, ...] = ()
    attribute_names: tuple[str, ...] = ()

    def look(self, task: Task[Any], examples: Sequence[Example]) -> tuple[Tensor, list[RowView], list[Panel]]:
        """Logits of each example, its row, and a panel with the attention of a decoder that has such."""
        self.model.eval()
        with torch.inference_mode():
            batch, rows = self.batching.batch(task, examples)
            batch = batch.to(self.device)
            state = self.model.encoder(batch, level=self.model.level(task.name))
            decoder = self.model.decoder(task.name)
            logits = decoder(state, batch.inputs).float().cpu()
            weights = _attention(decoder, state, rows)
        panels = [
            Panel(
                image_id=row.regions.image_id,
                height=row.regions.height,
                width=row.regions.width,
                boxes=np.asarray(row.regions.boxes, np.float32),
                tokens=row.tokens,
                region_names=region_names(row.regions, self.class_names, self.attribute_names),
                region_weights=over_regions,
                word_weights=over_words,
            )
            for row, (over_regions, over_words) in zip(rows, weights, strict=True)
        ]
        return logits, rows, panels


def _attention(decoder: Any, state: Any, rows: Sequence[RowView]) -> list[tuple[np.ndarray | None, np.ndarray | None]]:
    found = decoder.attention(state) if hasattr(decoder, "attention") else None
    if found is None:
        return [(None, None)] * len(rows)
    over_regions, over_words = (weights.float().cpu().numpy() for weights in found)
    return [
        (over_regions[k, : row.regions.num_regions], over_words[k, : len(row.tokens)]) for k, row in enumerate(rows)
    ]


def region_names(
    regions: RegionFeatures, class_names: Sequence[str], attribute_names: Sequence[str]
) -> tuple[str, ...]:
    """ "red circle" for each region, as far as the store knows; empty if it knows no classes."""
    if regions.classes is None or not class_names:
        return ()
    attributes = [-1] * regions.num_regions if regions.attributes is None else regions.attributes.tolist()
    return tuple(
        " ".join([*_named(attribute_names, attribute), *_named(class_names, label)])
        for attribute, label in zip(attributes, regions.classes.tolist(), strict=True)
    )


def _named(names: Sequence[str], place: int) -> list[str]:
    return [names[place]] if 0 <= place < len(names) else []


@singledispatch
def candidates(task: Task[Any], looker: Looker, examples: Sequence[Example]) -> list[Exhibit]:
    """Exhibits to choose from. Tasks without a function of their own show where their decoder looks, if it can."""
    chosen = spread([example for example in examples if len(example.rows) == 1], NUM_CANDIDATES)
    if not chosen or not hasattr(looker.model.decoder(task.name), "attention"):
        return []
    _, _, panels = looker.look(task, chosen)
    if all(panel.region_weights is None for panel in panels):  # this encoder's summaries do not attend
        return []
    return [Exhibit(task.name, "where the decoder looks", None, (panel,)) for panel in panels]


def pick(exhibits: Iterable[Exhibit], count: int, used: set[ImageId]) -> list[Exhibit]:
    """`count` exhibits, right and wrong ones in turn, about pictures not in `used` while there are such.

    used: pictures that have been shown; those of the chosen exhibits are added.
    """
    waiting = list(exhibits)
    chosen: list[Exhibit] = []
    while waiting and len(chosen) < count:
        offered = [exhibit for exhibit in waiting if not exhibit.image_ids & used] or waiting
        wanted = len(chosen) % 2 == 0  # right ones first
        best = next((exhibit for exhibit in offered if exhibit.right == wanted), offered[0])
        waiting = [exhibit for exhibit in waiting if exhibit is not best]
        chosen.append(best)
        used |= best.image_ids
    return chosen


def spread(items: Sequence[Item], count: int) -> list[Item]:
    """At most `count` items, evenly from all of them."""
    if len(items) <= count:
        return list(items)
    return [items[k * len(items) // count] for k in range(count)]
