"""Examples → Batch: the only place that pads. Every distinct picture and sentence of a batch is held once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from vltool.errors import DataError
from vltool.structures import Batch, Example, ImageId, RegionFeatures
from vltool.tasks.given_boxes import GivenBoxes, with_given
from vltool.tasks.region_source import RegionSource
from vltool.tasks.task import RowView, Task

if TYPE_CHECKING:
    from torch import Tensor


class Frame(NamedTuple):
    """Token ids that the encoder wants before and after each sentence of a task."""

    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()

    def around(self, ids: np.ndarray) -> np.ndarray:
        """(T,) -> (T + those of the frame,)."""
        return np.concatenate([self.before, ids, self.after]).astype(np.int64)


class Batching:
    """Builds batches from a source of regions and the tokens of every sentence.

    tokens: sentence → its words; token_ids: sentence → (T,) int64 rows of the word vectors. given: features of boxes
    that datasets give, for tasks that want them. frames: by task; without one, sentences stand alone.
    """

    def __init__(
        self,
        regions: RegionSource,
        tokens: Mapping[str, tuple[str, ...]],
        token_ids: Mapping[str, np.ndarray],
        *,
        given: RegionSource | None = None,
        frames: Mapping[str, Frame] | None = None,
    ):
        self.frames = frames or {}
        self.regions = regions
        self.given = given
        self.tokens = tokens
        self.token_ids = token_ids

    def row(self, image_id: ImageId, sentence: str) -> RowView:
        """One image-sentence row as tasks see it, with the detected regions."""
        return RowView(self.regions.get(image_id), self._tokens(sentence))

    def row_of(self, example: Example) -> RowView:
        """The first row of an example, with the detected regions."""
        return self.row(*example.rows[0])

    def batch(self, task: Task[Any], examples: Sequence[Example]) -> tuple[Batch, list[RowView]]:
        """A batch of `examples` to be scored, and the first row of each."""
        return self._build(task, examples, self.regions.get, None)

    def training_batch(
        self, task: Task[Any], examples: Sequence[Example], generator: np.random.Generator, *, own: range | None = None
    ) -> Batch:
        """A batch of `examples` to learn from; generator: for negatives.

        Features are copied once, from the store to where the batch holds them, in the store's number format. own: the
        examples that will be computed from this batch, where others compute the rest: pictures of theirs alone keep
        zeros for features, unless the task disguises batches. All else is as in the whole batch.
        """
        with self.regions.views() as view:
            find = self.regions.get if task.reads_classes else view
            return self._build(task, examples, find, generator, own if _keeps_batches(task) else None)[0]

    def lengths(self, examples: Sequence[Example]) -> np.ndarray:
        """(B,) how long each example is: the words and regions of its longest row together."""
        with self.regions.views() as view:
            return np.array(
                [
                    max(
                        view(image_id).num_regions + len(self._token_ids(sentence))
                        for image_id, sentence in example.rows
                    )
                    for example in examples
                ]
            )

    def _build(
        self,
        task: Task[Any],
        examples: Sequence[Example],
        find: Callable[[ImageId], RegionFeatures],
        generator: np.random.Generator | None,
        own_examples: range | None = None,
    ) -> tuple[Batch, list[RowView]]:
        given = [task.given_boxes(example, training=generator is not None) for example in examples]
        further = [] if generator is None else task.further_rows(examples, generator)
        own: list[list[_Row]] = [
            [((image_id, boxes if k == 0 else None), sentence) for k, (image_id, sentence) in enumerate(example.rows)]
            for example, boxes in zip(examples, given, strict=True)
        ]
        more: list[list[_Row]] = [[((image_id, None), sentence) for image_id, sentence in rows] for rows in further]
        pictures, sentences = (_Places(row[side] for listed in (*own, *more) for row in listed) for side in (0, 1))
        held = [self._regions(picture, find) for picture in pictures]
        views = [
            RowView(held[pictures[rows[0][0]]], self._tokens(rows[0][1]), 0 if boxes is None else len(boxes.boxes))
            for rows, boxes in zip(own, given, strict=True)
        ]
        rows = _numbers(own, pictures, sentences)  # (B, rows of their own, 2)
        if rows.shape[1] == 1:
            rows = task.pair_rows(rows[:, 0, 0], rows[:, 0, 1], generator)
        if further:
            rows = np.concatenate([rows, _numbers(more, pictures, sentences)], axis=1)
        inputs, targets = task.tensors(examples, views, rows.shape[1])
        copied = None if own_examples is None else set(rows[own_examples.start : own_examples.stop, :, 0].flat)
        regions, region_mask, boxes = pad_regions(held, copied=copied)
        tokens, token_mask = self.sentences(sentences, task=task.name)
        batch = Batch(
            regions=regions,
            region_mask=region_mask,
            boxes=boxes,
            tokens=tokens,
            token_mask=token_mask,
            rows=torch.from_numpy(rows.reshape(-1, 2)),
            example_ids=tuple(example.example_id for example in examples),
            image_ids=tuple(image_id for image_id, _ in pictures),
            inputs=inputs,
            targets=targets,
        )
        return task.disguise(batch, generator), views

    def _regions(self, picture: _Picture, find: Callable[[ImageId], RegionFeatures]) -> RegionFeatures:
        image_id, given = picture
        if given is None:
            return find(image_id)
        if self.given is None:
            raise DataError(
                f"image {image_id!r} comes with boxes of its dataset, and there are no features of them. Set "
                "features.given_store"
            )
        return with_given(find(image_id), self.given.get(image_id), given)

    def images(self, image_ids: Sequence[ImageId]) -> tuple[Tensor, Tensor, Tensor]:
        """regions (U, R, D), region_mask (U, R), boxes (U, R, 5) of pictures."""
        with self.regions.views() as view:
            return pad_regions([view(image_id) for image_id in image_ids])

    def sentences(self, sentences: Iterable[str], *, task: str) -> tuple[Tensor, Tensor]:
        """tokens (V, T), token_mask (V, T) of sentences, as the encoder reads them for a task."""
        found = [self._token_ids(sentence) for sentence in sentences]
        frame = self.frames.get(task)
        return pad_tokens([frame.around(ids) for ids in found] if frame else found)

    def _tokens(self, sentence: str) -> tuple[str, ...]:
        if sentence not in self.tokens:
            raise DataError(f"the sentence {sentence[:80]!r} was not tokenized. Run again: vltool embed-text CONFIG")
        return self.tokens[sentence]

    def _token_ids(self, sentence: str) -> np.ndarray:
        self._tokens(sentence)
        return self.token_ids[sentence]


_Picture = tuple[ImageId, GivenBoxes | None]
_Row = tuple[_Picture, str]


class _Places(dict[Any, int]):
    """Distinct things in the order of their first coming → their places."""

    def __init__(self, things: Iterable[Any]):
        super().__init__()
        for thing in things:
            self.setdefault(thing, len(self))


def _numbers(rows: Sequence[Sequence[_Row]], pictures: _Places, sentences: _Places) -> np.ndarray:
    """(B, rows, 2) int64: the places of the picture and the sentence of every row; each example has as many rows."""
    return np.array(
        [[(pictures[picture], sentences[sentence]) for picture, sentence in own] for own in rows], np.int64
    ).reshape(len(rows), -1, 2)


def _keeps_batches(task: Task[Any]) -> bool:
    """Whether a batch of a task reaches the encoder as it was read."""
    return type(task).disguise is Task.disguise


def pad_regions(
    held: Sequence[RegionFeatures], *, copied: Collection[int] | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """regions (U, R, D) in the store's own precision, region_mask (U, R), boxes (U, R, 5), R the largest number.

    copied: the places of those whose features are copied; the others' stay 0, and take neither reading nor memory.
    """
    most = max(features.num_regions for features in held)
    dim = held[0].features.shape[1]
    dtype = held[0].features.dtype
    regions = np.zeros((len(held), most, dim), dtype)
    mask = np.zeros((len(held), most), bool)
    boxes = np.zeros((len(held), most, 5), np.float32)
    for k, features in enumerate(held):
        if features.features.shape[1] != dim:
            raise DataError(
                f"image {features.image_id!r} has features of width {features.features.shape[1]}, others of {dim}: "
                "they come from different detectors. Extract them with one detector"
            )
        count = features.num_regions
        if copied is None or k in copied:
            regions[k, :count] = features.features
        mask[k, :count] = True
        boxes[k, :count] = relative_boxes(features)
    return torch.from_numpy(regions), torch.from_numpy(mask), torch.from_numpy(boxes)


def relative_boxes(features: RegionFeatures) -> np.ndarray:
    """(R, 5): x1/W, y1/H, x2/W, y2/H and the share of the picture's area."""
    scale = np.array([features.width, features.height, features.width, features.height], np.float32)
    relative = features.boxes / scale
    area = (relative[:, 2] - relative[:, 0]) * (relative[:, 3] - relative[:, 1])
    return np.concatenate([relative, area[:, None]], axis=1)


def pad_tokens(token_ids: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """tokens (V, T) long with padding row 0, token_mask (V, T), T the longest sentence."""
    longest = max(1, max(len(ids) for ids in token_ids))
    tokens = np.zeros((len(token_ids), longest), np.int64)
    mask = np.zeros((len(token_ids), longest), bool)
    for k, ids in enumerate(token_ids):
        tokens[k, : len(ids)] = ids
        mask[k, : len(ids)] = True
    return torch.from_numpy(tokens), torch.from_numpy(mask)
