"""Which given boxes the tasks of a run want, picture by picture."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vltool.config import RunConfig
from vltool.features.store import RegionStore
from vltool.structures import ImageId
from vltool.tasks.given_boxes import GivenBoxes, Size, boxes_to_pool
from vltool.tasks.prepare import PreparedTasks, prepare_tasks


def wanted_boxes(prepared: PreparedTasks) -> Iterator[tuple[str, ImageId, GivenBoxes]]:
    """(task, picture, boxes) for every example of a run that wants given boxes, in whatever split."""
    for name, splits in prepared.examples.items():
        task = prepared.tasks[name]
        for split, examples in splits.items():
            for example in examples:
                given = task.given_boxes(example, training=split == "train")
                if given is not None:
                    yield name, example.rows[0][0], given


def given_boxes(config: RunConfig) -> dict[str, np.ndarray]:
    """(G, 4) boxes of every picture of a run's store that a task wants features of, by image id. See `boxes_to_pool`.

    Raises StoreError without a store: boxes are put into the frame of the pictures that it holds.
    """
    with RegionStore.open(config.features.store) as store:

        def size_of(image_id: ImageId) -> Size | None:
            if image_id not in store:
                return None
            regions = store.get(image_id)
            return regions.height, regions.width

        return boxes_to_pool(wanted_boxes(prepare_tasks(config)), size_of)
