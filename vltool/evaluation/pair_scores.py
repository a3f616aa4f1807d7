"""Scores of every image with every sentence, for retrieval.

The pairs are cut into tiles (`pair_inputs.py`), and each tile is scored by itself (`pair_scorer.py`), here or by the
processes of an engine; tiles that are done may be kept on disk, so that a scoring that was killed goes on from them
(`kept_tiles.py`). Beside the score matrix, memory holds one tile's images and sentences and one block of pairs a
thread, however many there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vltool.engines.engine import Engine
from vltool.evaluation.kept_tiles import KeptTiles
from vltool.evaluation.pair_inputs import PairInputs, Tile, in_slices
from vltool.evaluation.pair_scorer import PairScorer
from vltool.models.joint_model import JointModel

NUM_EXACT = 20
"""Best pairs of each image and sentence that are scored again: twice as many as Recall@10 looks at."""

SCORES_AT_ONCE = 4_000_000
"""Scores looked through at once for the best pairs."""

Progress = Callable[[int, int], None]
OpenScorer = Callable[[], PairScorer]


@dataclass(frozen=True)
class Elsewhere:
    """Processes that score tiles. open_scorer: can be sent to them, and gives each the scorer, or one like it."""

    engine: Engine
    open_scorer: OpenScorer


@dataclass(frozen=True)
class TileJob:
    """A tile to score; with pairs (N, 2), rows and columns in the tile, only those, in float32."""

    tile: Tile
    pairs: np.ndarray | None = None


def score_all_pairs(
    model: JointModel,
    task_name: str,
    regions: Tensor,
    region_mask: Tensor,
    boxes: Tensor,
    tokens: Tensor,
    token_mask: Tensor,
    *,
    device: torch.device | str,
    precision: str = "auto",
    num_exact: int = NUM_EXACT,
    block_pairs: int | None = None,
    progress: Progress | None = None,
) -> np.ndarray:
    """(I, C) float32 logits of the task's decoder for every image with every sentence.

    regions (I, R, D), region_mask (I, R), boxes (I, R, 5); tokens (C, T), token_mask (C, T): as in `Batch`, on any
    device. The model must be on `device`. In bfloat16, the num_exact best sentences of each image and images of each
    sentence are scored again in float32, so that their ranks are float32's. block_pairs: pairs scored at once, sized
    to memory unless given. progress: called with (pairs done, pairs in all) after each block.
    """
    inputs = PairInputs.of_tensors(regions, region_mask, boxes, tokens, token_mask)
    scorer = PairScorer(model, task_name, inputs, device=device, precision=precision, block_pairs=block_pairs)
    return score_tiles(scorer, num_exact=num_exact, progress=progress)


def score_tiles(
    scorer: PairScorer,
    *,
    num_exact: int = NUM_EXACT,
    progress: Progress | None = None,
    kept: KeptTiles | None = None,
    elsewhere: Elsewhere | None = None,
) -> np.ndarray:
    """(I, C) float32 scores, tile by tile: those `kept` are read, the others are scored here or `elsewhere`, and kept.

    The same tiles in the same blocks give the same scores, however often the work was broken off.
    """
    tiles, scores = scorer.inputs.tiles(), np.empty(scorer.inputs.shape, np.float32)
    again = 0 if scorer.is_exact else min(num_exact * sum(scores.shape), scores.size)  # at most
    work = _Work(scorer, kept, elsewhere, _Count(progress, scores.size + again))
    for job, found in work.results([TileJob(tile) for tile in tiles]):
        scores[np.ix_(job.tile.images, job.tile.sentences)] = found
    if again:
        jobs = _exact_jobs(best_pairs(scores, num_exact), tiles, scores.shape)
        work.count.stretch(sum(len(job.pairs) for job in jobs if job.pairs is not None))
        for job, found in work.results(jobs):
            assert job.pairs is not None
            scores[job.tile.images[job.pairs[:, 0]], job.tile.sentences[job.pairs[:, 1]]] = found
    work.count.finish()
    return scores


def _exact_jobs(places: np.ndarray, tiles: Sequence[Tile], shape: tuple[int, int]) -> list[TileJob]:
    """The pairs at flat `places` of the matrix by the tiles that they are in."""
    image, sentence = np.unravel_index(places, shape)
    row, in_row = _positions([tile.images for tile in tiles if tile.column == 0], shape[0])
    column, in_column = _positions([tile.sentences for tile in tiles if tile.row == 0], shape[1])
    tile_of = row[image] * (1 + column.max()) + column[sentence]  # tiles stand row by row
    order = np.argsort(tile_of, kind="stable")
    pairs = np.stack([in_row[image], in_column[sentence]], axis=1)[order]
    ends = np.searchsorted(tile_of[order], np.arange(len(tiles)), side="right")
    return [TileJob(tile, own) for tile, own in zip(tiles, np.split(pairs, ends[:-1]), strict=True) if len(own)]


def _positions(chunks: Sequence[np.ndarray], length: int) -> tuple[np.ndarray, np.ndarray]:
    """For every place, which chunk it is in, and where in that chunk."""
    chunk, position = np.empty(length, np.int64), np.empty(length, np.int64)
    for number, places in enumerate(chunks):
        chunk[places], position[places] = number, np.arange(len(places))
    return chunk, position


class _Count:
    """Pairs done of all pairs; the pairs scored again are at most as many as were reckoned with."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self.progress, self.total, self.done = progress, total, 0.0
        self.share = 1.0

    def add(self, pairs: int) -> None:
        self.done += pairs * self.share
        if self.progress is not None:
            self.progress(min(round(self.done), self.total), self.total)

    def stretch(self, pairs: int) -> None:
        """What is left is `pairs`."""
        self.share = (self.total - self.done) / max(1, pairs)

    def finish(self) -> None:
        if round(self.done) < self.total:
            self.add(self.total)


class _Work:
    """Results of jobs from wherever they come."""

    def __init__(self, scorer: PairScorer, kept: KeptTiles | None, elsewhere: Elsewhere | None, count: _Count) -> None:
        self.scorer, self.kept, self.elsewhere, self.count = scorer, kept, elsewhere, count

    def results(self, jobs: Iterable[TileJob]) -> Iterator[tuple[TileJob, np.ndarray]]:
        """The scores of every job: of its tile's shape, or (N,) of its pairs. They are kept before they are given."""
        waiting = []
        for job in jobs:
            found = self.kept.read(job.tile, job.pairs) if self.kept is not None else None
            if found is None:
                waiting.append(job)
            else:
                self.count.add(found.size)
                yield job, found
        for job, found in self._scored(waiting):
            if self.kept is not None:
                self.kept.write(job.tile, job.pairs, found)
            yield job, found

    def _scored(self, jobs: Sequence[TileJob]) -> Iterator[tuple[TileJob, np.ndarray]]:
        if self.elsewhere is None:
            for job in jobs:
                yield job, run_job(self.scorer, job, after_block=self.count.add)
            return
        run = _RunElsewhere(self.elsewhere.open_scorer, self.scorer.block_pairs)
        for done in self.elsewhere.engine.run(run, jobs):
            if done.error is not None:
                raise done.error
            assert done.result is not None
            self.count.add(done.result.size)
            yield done.job, done.result


@dataclass(frozen=True)
class _RunElsewhere:
    """run_job for another process."""

    open_scorer: OpenScorer
    block_pairs: int

    def __call__(self, job: TileJob) -> np.ndarray:
        scorer = self.open_scorer()
        scorer.block_pairs = self.block_pairs
        return run_job(scorer, job)


def run_job(scorer: PairScorer, job: TileJob, *, after_block: Callable[[int], None] | None = None) -> np.ndarray:
    """The scores of one job."""
    if job.pairs is None:
        return scorer.score(job.tile, after_block=after_block)
    return scorer.score_exactly(job.tile, job.pairs, after_block=after_block)


def best_pairs(scores: np.ndarray, count: int) -> np.ndarray:
    """Flat places, in order, of the `count` best sentences of each image and images of each sentence, each once.

    scores (I, C) is read some rows and some columns at a time.
    """
    num_images, num_sentences = scores.shape
    found = []
    for rows in in_slices(num_images, SCORES_AT_ONCE // num_sentences):
        best = best_of_rows(scores[rows], count)
        found.append((np.arange(rows.start, rows.stop)[:, None] * num_sentences + best).ravel())
    for columns in in_slices(num_sentences, SCORES_AT_ONCE // num_images):
        best = best_of_rows(scores[:, columns].T, count)
        found.append((best * num_sentences + np.arange(columns.start, columns.stop)[:, None]).ravel())
    return np.unique(np.concatenate(found))


def best_of_rows(scores: np.ndarray, count: int) -> np.ndarray:
    """(N, count) columns of the best scores of each row, in any order."""
    number = min(count, scores.shape[1])
    return np.argpartition(-scores, number - 1, axis=1)[:, :number]
