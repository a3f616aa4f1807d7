"""Scores of one model on one task's examples, by the task's own metric."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from vltool.engines.processes import ALONE, Processes
from vltool.errors import DataError
from vltool.evaluation.pair_inputs import PairInputs
from vltool.evaluation.pair_scorer import PairScorer
from vltool.evaluation.pair_scores import score_tiles
from vltool.metrics.item_scores import ItemScores
from vltool.models.joint_model import JointModel
from vltool.models.precision import compute_in
from vltool.structures import Example
from vltool.tasks.batching import Batching
from vltool.tasks.task import Scores, Task

Progress = Callable[[int, int], None]
ScorePairs = Callable[..., np.ndarray]
"""A `score_tiles`, perhaps with some of its arguments given: kept tiles, processes elsewhere."""


@dataclass(frozen=True)
class Evaluation:
    """Scores in percent, none where the answers are secret; predictions as in a submission.

    items: the same scores item by item. Where all pairs count: pair_scores (images, captions), and `gold`, whose
    caption_image says the row of each caption's picture. submission: (suffix, text), where it is no JSON list.
    """

    scores: Scores
    predictions: list[dict[str, Any]]
    items: ItemScores | None = None
    pair_scores: np.ndarray | None = None
    gold: dict[str, Any] | None = None
    submission: tuple[str, str] | None = None


@torch.inference_mode()
def evaluate(
    model: JointModel,
    task: Task[Any],
    examples: Sequence[Example],
    batching: Batching,
    *,
    batch_size: int = 256,
    precision: str = "float32",
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
    processes: Processes = ALONE,
    score_pairs: ScorePairs = score_tiles,
) -> Evaluation:
    """Score `model` on `examples`. progress(done, total) is called as it goes.

    Of several processes each scores its share (of the batches, or of the images to be paired), and all of them get
    the same scores of everything.
    """
    if not examples:
        raise DataError(f"tasks.{task.name}: there is nothing to evaluate. Name sources for this split")
    model.eval()
    if task.scoring == "all_pairs":
        return _evaluate_pairs(model, task, examples, batching, precision, device, progress, processes, score_pairs)
    metric = task.new_metric()
    starts = range(0, len(examples), batch_size)
    own = processes.share_of(len(starts))
    for start in starts[own.start : own.stop]:
        chosen = examples[start : start + batch_size]
        batch, rows = batching.batch(task, chosen)
        batch = batch.to(device)
        with compute_in(precision, device):
            logits = model.logits(task.name, batch)
        metric.update(logits.float(), batch, chosen, rows)
        if progress:
            progress(min(start + batch_size, len(examples)), len(examples))
    if processes.size > 1:
        metric, *others = processes.gather(metric)
        for other in others:
            metric.extend(other)
    return Evaluation(metric.compute(), metric.predictions(), metric.items(), submission=metric.submission())


def _evaluate_pairs(
    model: JointModel,
    task: Task[Any],
    examples: Sequence[Example],
    batching: Batching,
    precision: str,
    device: torch.device | str,
    progress: Progress | None,
    processes: Processes,
    score_pairs: ScorePairs,
) -> Evaluation:
    image_ids = tuple(dict.fromkeys(example.rows[0][0] for example in examples))
    place = {image_id: k for k, image_id in enumerate(image_ids)}
    caption_image = np.array([place[example.rows[0][0]] for example in examples])
    own = processes.share_of(len(image_ids))
    scores = np.empty((0, len(examples)), np.float32)
    if own:
        sentences = [example.rows[0][1] for example in examples]
        inputs = PairInputs.of_batching(batching, image_ids[own.start : own.stop], sentences, task=task.name)
        scorer = PairScorer(model, task.name, inputs, device=device, precision=precision)
        scores = score_pairs(scorer, progress=progress)
    if processes.size > 1:
        scores = np.concatenate(processes.gather(scores))
    best = scores.argmax(axis=0)
    predictions = [
        {"caption_id": example.example_id, "best_image": image_ids[k]}
        for example, k in zip(examples, best, strict=True)
    ]
    gold = {
        "caption_image": caption_image.tolist(),
        "images": image_ids,
        "captions": [example.example_id for example in examples],
    }
    items = task.pair_items(scores, caption_image, image_ids)
    return Evaluation(items.scores(), predictions, items, scores, gold)
