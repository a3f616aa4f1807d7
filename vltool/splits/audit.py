"""The proof that what is evaluated was not trained on: every training set against every evaluated set.

{"clean": false,
 "pairs": [{"train": "vqa", "evaluated": "caption_retrieval/test", "images": 12, "examples": 61}, …],
 "near_duplicates": [{"a": "vg:2415125", "b": "flickr30k:92679312", "distance": 2}, …]}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vltool.splits.near_duplicates import MAX_DISTANCE, Hashes, near_duplicates
from vltool.splits.protocol import SplitIds, evaluated_sets, pictures, shared_pictures, training_sets
from vltool.splits.trained_ids import TrainedIds
from vltool.structures import ImageId

__all__ = ["TrainedIds", "audit", "audit_sets"]


def audit(examples: SplitIds, *, hashes: Sequence[Hashes] = (), max_distance: int = MAX_DISTANCE) -> dict[str, Any]:
    """What the training sets of tasks share with every val and test set; `clean` if that is nothing.

    examples: task → split → the pictures of each example. A row of `pairs` for every training and evaluated set:
    images in common, and training examples about them. hashes: maps id → hexadecimal (of files, or perceptual); with
    them pictures are found that go by two names, up to `max_distance` differing bits.
    """
    return audit_sets(training_sets(examples), evaluated_sets(examples), hashes=hashes, max_distance=max_distance)


def audit_sets(
    train: Mapping[str, Sequence[tuple[ImageId, ...]]],
    evaluated: Mapping[str, Sequence[tuple[ImageId, ...]]],
    *,
    hashes: Sequence[Hashes] = (),
    max_distance: int = MAX_DISTANCE,
) -> dict[str, Any]:
    """As `audit`, of any named sets: name → the pictures of each example."""
    pairs = shared_pictures(train, evaluated)
    trained, sought = (
        {image_id for found in sets.values() for image_id in pictures(found)} for sets in (train, evaluated)
    )
    nearest: dict[tuple[ImageId, ImageId], dict[str, Any]] = {}
    for table in hashes:
        for row in near_duplicates(trained, sought, table, max_distance=max_distance):
            known = nearest.setdefault((row["a"], row["b"]), row)
            known["distance"] = min(known["distance"], row["distance"])
    near = sorted(nearest.values(), key=lambda row: (row["distance"], row["a"], row["b"]))
    return {
        "clean": not near and not any(pair["images"] for pair in pairs),
        "pairs": pairs,
        "near_duplicates": near,
    }
