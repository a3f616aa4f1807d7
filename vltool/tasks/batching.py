"""Examples → Batch: the only place that pads. Every distinct picture and sentence of a batch is held once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import torch

from vltool.errors import DataError
from vltool.structures import Batch, Example, ImageId, RegionFeatures
from vltool.tasks.task import RowView, Task

if TYPE_CHECKING:
    from torch import Tensor


class RegionSource(Protocol):
    """Where region features come from: a store, or a dictionary in a test.

    get: all that is known of a picture. views: gives a function like it, for features and boxes alone, which may lie in
    the store itself: they are valid within the `with` block.
    """

    def get(self, image_id: ImageId) -> RegionFeatures: ...

    def views(self) -> AbstractContextManager[Callable[[ImageId], RegionFeatures]]: ...


class Frame(NamedTuple):
    """Token ids that the encoder wants before and after each sentence of a task."""

    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()

    def around(self, ids: np.ndarray) -> np.ndarray:
        """(T,) -> (T + those of the frame,)."""
        return np.concatenate([self.before, ids, self.after]).astype(np.int64)


class Batching:
    """Builds batches from a source of regions and the tokens of every sentence.

    tokens: sentence → its words; token_ids: sentence → (T,) int64 rows of the word vectors. frames: by task; without
    one, sentences stand alone.
    """

    def __init__(
        self,
        regions: RegionSource,
        tokens: Mapping[str, tuple[str, ...]],
        token_ids: Mapping[str, np.ndarray],
        *,
        frames: Mapping[str, Frame] | None = None,
    ):
        self.frames = frames or {}
        self.regions = regions
        self.tokens = tokens
        self.token_ids = token_ids

    def row(self, image_id: ImageId, sentence: str) -> RowView:
        """One image-sentence row as tasks see it."""
        return RowView(self.regions.get(image_id), self._tokens(sentence))

    def row_of(self, example: Example) -> RowView:
        """The first row of an example."""
        return self.row(*example.rows[0])

    def batch(self, task: Task[Any], examples: Sequence[Example]) -> tuple[Batch, list[RowView]]:
        """A batch of `examples` to be scored, and the first row of each."""
        return self._build(task, examples, self.regions.get, None)

    def training_batch(self, task: Task[Any], examples: Sequence[Example], generator: np.random.Generator) -> Batch:
        """A batch of `examples` to learn from; generator: for in-batch negatives.

        Features are copied once, from the store to where the batch holds them, in the store's number format.
        """
        with self.regions.views() as view:
            find = self.regions.get if task.reads_classes else view
            return self._build(task, examples, find, generator)[0]

    def lengths(self, examples: Sequence[Example]) -> np.ndarray:
        """(B,) how long each example is: the words and regions of its first row together."""
        with self.regions.views() as view:
            return np.array(
                [
                    view(image_id).num_regions + len(self._token_ids(sentence))
                    for image_id, sentence in (example.rows[0] for example in examples)
                ]
            )

    def _build(
        self,
        task: Task[Any],
        examples: Sequence[Example],
        find: Callable[[ImageId], RegionFeatures],
        generator: np.random.Generator | None,
    ) -> tuple[Batch, list[RowView]]:
        pairs = [example.rows[0] for example in examples]
        image_ids = tuple(dict.fromkeys(image_id for image_id, _ in pairs))
        sentences = tuple(dict.fromkeys(sentence for _, sentence in pairs))
        image_index = {image_id: k for k, image_id in enumerate(image_ids)}
        sentence_index = {sentence: k for k, sentence in enumerate(sentences)}
        held = [find(image_id) for image_id in image_ids]
        views = [RowView(held[image_index[i]], self._tokens(s)) for i, s in pairs]
        rows = task.pair_rows(
            np.array([image_index[image_id] for image_id, _ in pairs]),
            np.array([sentence_index[sentence] for _, sentence in pairs]),
            generator,
        )  # (B, rows, 2)
        inputs, targets = task.tensors(examples, views, rows.shape[1])
        regions, region_mask, boxes = pad_regions(held)
        tokens, token_mask = self.sentences(sentences, task=task.name)
        batch = Batch(
            regions=regions,
            region_mask=region_mask,
            boxes=boxes,
            tokens=tokens,
            token_mask=token_mask,
            rows=torch.from_numpy(rows.reshape(-1, 2)),
            example_ids=tuple(example.example_id for example in examples),
            image_ids=image_ids,
            inputs=inputs,
            targets=targets,
        )
        return task.disguise(batch, generator), views

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


def pad_regions(held: Sequence[RegionFeatures]) -> tuple[Tensor, Tensor, Tensor]:
    """regions (U, R, D) in the store's own precision, region_mask (U, R), boxes (U, R, 5), R the largest number."""
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
