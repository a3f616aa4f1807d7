"""Which pictures trained a model, small enough to travel with its weights.

    {"kind": "trained_ids", "tasks": {"vqa": {"coco": {"numbers": "eJw…"}, "file": {"names": "eJx…"}}}}

The part of an id before its colon is kept once. Numbers are sorted and kept as differences; both are deflated and
written in base 64: 82,783 COCO pictures take about 100 kB.
"""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from vltool.errors import CheckpointError
from vltool.structures import ImageId


@dataclass(frozen=True)
class TrainedIds:
    """The pictures that each task of a model was trained on."""

    by_task: Mapping[str, frozenset[ImageId]]

    @classmethod
    def build(cls, by_task: Mapping[str, Iterable[ImageId]]) -> TrainedIds:
        return cls({task: frozenset(ids) for task, ids in by_task.items()})

    def union(self, other: TrainedIds) -> TrainedIds:
        """The pictures of both, task by task: what a model was trained on that started from another's weights."""
        tasks = dict.fromkeys([*self.by_task, *other.by_task])
        none: frozenset[ImageId] = frozenset()
        return TrainedIds({task: self.by_task.get(task, none) | other.by_task.get(task, none) for task in tasks})

    def meets(self, evaluated: Iterable[ImageId]) -> list[ImageId]:
        """Those of `evaluated` that any task was trained on, sorted, each once."""
        sought = set(evaluated)
        return sorted({image_id for ids in self.by_task.values() for image_id in sought & ids})

    def tasks_that_met(self, evaluated: Iterable[ImageId]) -> dict[str, int]:
        """task → how many of `evaluated` it was trained on, for the tasks that were trained on any."""
        sought = set(evaluated)
        counts = {task: len(sought & ids) for task, ids in self.by_task.items()}
        return {task: count for task, count in counts.items() if count}

    def to_json(self) -> dict[str, Any]:
        return {"kind": "trained_ids", "tasks": {task: _pack(ids) for task, ids in sorted(self.by_task.items())}}

    @classmethod
    def from_json(cls, content: Any) -> TrainedIds:
        """What `to_json` gave. Raises CheckpointError if it is something else or damaged."""
        if not isinstance(content, dict) or content.get("kind") != "trained_ids":
            raise CheckpointError("trained_ids: expected the pictures that trained the checkpoint; it has none written")
        try:
            return cls({str(task): _unpack(packed) for task, packed in content["tasks"].items()})
        except (AttributeError, KeyError, TypeError, ValueError, zlib.error, binascii.Error) as error:
            raise CheckpointError(f"trained_ids: damaged: {error!r}") from error


def _pack(ids: Iterable[ImageId]) -> dict[str, dict[str, str]]:
    numbers: dict[str, list[int]] = {}
    names: dict[str, list[str]] = {}
    for image_id in sorted(ids):
        source, _, name = image_id.partition(":")
        if f"{source}:{name}" == image_id and name.isascii() and name.isdigit() and str(int(name)) == name:
            numbers.setdefault(source, []).append(int(name))
        else:
            names.setdefault("", []).append(image_id)
    packed: dict[str, dict[str, str]] = {}
    for source, found in numbers.items():
        found.sort()
        steps = [after - before for before, after in zip([0, *found], found, strict=False)]
        packed.setdefault(source, {})["numbers"] = _deflate(steps)
    for source, listed in names.items():
        packed.setdefault(source, {})["names"] = _deflate(listed)
    return packed


def _unpack(packed: Mapping[str, Mapping[str, str]]) -> frozenset[ImageId]:
    found: set[ImageId] = set()
    for source, parts in packed.items():
        if unknown := set(parts) - {"numbers", "names"}:
            raise ValueError(f"unknown parts {sorted(unknown)}")
        found |= {ImageId(f"{source}:{number}") for number in accumulate(_inflate(parts.get("numbers"), int))}
        found |= {ImageId(name) for name in _inflate(parts.get("names"), str)}
    return frozenset(found)


def _deflate(values: list[Any]) -> str:
    plain = json.dumps(values, separators=(",", ":")).encode()
    return base64.b64encode(zlib.compress(plain, 9)).decode("ascii")


def _inflate(text: str | None, kind: type) -> list[Any]:
    if text is None:
        return []
    values = json.loads(zlib.decompress(base64.b64decode(text, validate=True)))
    if not isinstance(values, list) or not all(type(value) is kind for value in values):
        raise ValueError(f"expected a list of {kind.__name__}")
    return values
