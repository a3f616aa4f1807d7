"""Steps of a run, done a few times to see how long they take: updates, scoring, tokens, pictures.

Nothing is trained and nothing kept: weights are fresh, features random, pictures go to a store that is thrown away.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vltool.config import RunConfig
from vltool.dry_run.memory import peak_bytes, restart_peak
from vltool.dry_run.pictures import Pictures
from vltool.dry_run.stand_in import RandomGiven, RandomRegions, sentences_of, some_of, words_of
from vltool.evaluation.pair_scores import score_all_pairs
from vltool.features.extract import extract
from vltool.features.images import ImagePath
from vltool.models.joint_model import JointModel
from vltool.models.precision import compute_in, resolve_precision
from vltool.structures import Example, TaskPlan
from vltool.tasks.batching import Batching
from vltool.tasks.network import build_network
from vltool.tasks.prepare import PreparedTasks
from vltool.tasks.task import Task
from vltool.text.vocabulary import AnswerPool
from vltool.text.words import Words
from vltool.training.run import pick_device
from vltool.training.timing import seconds_of, updater_to_time

EXAMPLES_ON_CPU = 64  # beyond that an update takes as much longer as it holds more examples
LONG_ENOUGH_S = 2.0
NUM_CLASSES = 1600  # of the usual detectors
FEW_PICTURES = 3
BYTES_OF_TRAINED = 12  # of each parameter: its gradient and Adam's two, in float32
PAIRS = (16, 32)  # pictures and captions


@dataclass(frozen=True)
class UpdateCost:
    """One update of a task's plan, as measured or put in proportion to the measured one.

    num_examples: of the measured update. memory_bytes: beside weights, gradients and Adam's state. seconds_per_score:
    of an example, or of a pair of picture and caption where all pairs are scored; seconds_per_exact: of one of the
    pairs that are scored again in float32, 0 where none is.
    """

    plan: TaskPlan
    seconds: float
    num_examples: int
    memory_bytes: int
    num_parameters: int
    num_decoder_parameters: int
    seconds_per_score: float
    seconds_per_exact: float
    regions: float
    words: float


@dataclass(frozen=True)
class PictureCost:
    """Describing one picture. seconds_to_start: of the first one, with what is done only once."""

    seconds: float
    regions: float
    num_pictures: int
    memory_bytes: int


def time_updates(
    config: RunConfig,
    prepared: PreparedTasks,
    plan: TaskPlan,
    *,
    vector_width: int,
    feature_dim: int,
    region_counts: Sequence[int],
) -> UpdateCost:
    """A few updates and scores of one task by its plan, alone, as its training does them."""
    task = prepared.tasks[plan.task]
    device = pick_device(config.training.device)
    count = plan.batch_size if device.type == "cuda" else min(plan.batch_size, EXAMPLES_ON_CPU)
    examples = some_of(prepared.examples[plan.task]["train"], count)
    words = words_of(config, sentences_of(examples))
    found = task.answers(examples)
    pool = AnswerPool.build(found, threshold=0, normalize=task.normalize_answer) if found else None
    teach(task, words.vocabulary, pool)
    regions = RandomRegions(feature_dim, region_counts, config.features.dtype)
    given = RandomGiven(regions, task, examples)
    batching = Batching(regions, words.tokens, words.ids, frames=words.frames, given=given)
    vectors = np.zeros((words.num_rows, vector_width), np.float32)
    model = build_network(
        config.encoder, {plan.task: task}, {plan.task: plan.level}, vectors=vectors, feature_dim=feature_dim, seed=0
    ).to(device)
    updater = updater_to_time(config.training, model, plan, device)
    task.prepare_training(examples, batching.regions)
    batch = batching.training_batch(task, examples, np.random.default_rng(0)).to(device)
    held = restart_peak(device)
    updater.update(task, batch)  # the first one makes gradients and Adam's state
    num_parameters = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    own_bytes = max(0, peak_bytes(device) - held - BYTES_OF_TRAINED * num_parameters)
    seconds = _quickest(lambda: updater.update(task, batch), device)
    scale = plan.batch_size / count
    return UpdateCost(
        plan,
        seconds * scale,
        count,
        int(own_bytes * scale),
        num_parameters,
        sum(parameter.numel() for parameter in model.decoder(plan.task).parameters()),
        *_seconds_of_scoring(config, model, task, batching, examples, device),
        float(np.mean(region_counts)),
        float(np.mean([len(words.tokens[example.rows[0][1]]) for example in examples])),
    )


def time_pictures(config: RunConfig, pictures: Pictures) -> PictureCost | None:
    """Describes a few of the new pictures; None where there is none, or no detector. Raises DataError for a bad one."""
    if pictures.detector is None or not pictures.new:
        return None
    step = max(1, len(pictures.new) // (FEW_PICTURES + 1))
    chosen = [picture.path for picture in pictures.new[::step][: FEW_PICTURES + 1]]
    settings = config.features
    device = torch.device(pictures.detector.device)
    with tempfile.TemporaryDirectory() as folder:

        def describe(paths: Sequence[ImagePath], name: str) -> Any:
            return extract(
                paths,
                Path(folder) / name,
                detector=pictures.detector,  # type: ignore[arg-type]
                **settings.selection,
                image_id_pattern="file:{parent}-{name}",
                workers=1,
                on_error="stop",
            )

        first = describe(chosen[:1], "first")
        restart_peak(device)
        rest = describe(chosen[1:], "rest") if len(chosen) > 1 else first
    return PictureCost(rest.seconds / rest.images, rest.regions / rest.images, rest.images, peak_bytes(device))


def time_tokens(config: RunConfig, sentences: Sequence[str]) -> float:
    """Seconds a sentence takes to be tokenized."""
    started = time.perf_counter()
    words_of(config, sentences)
    return (time.perf_counter() - started) / max(1, len(sentences))


def teach(task: Task[Any], words: Words, pool: AnswerPool | None) -> None:
    """Give a task what its decoder is made by; pool: None where it chooses from none."""
    task.learn_words(words)
    task.learn_features({"class_names": ["thing"] * NUM_CLASSES})
    if pool is not None:
        task.learn_answers(pool)


@torch.inference_mode()
def _seconds_of_scoring(
    config: RunConfig,
    model: JointModel,
    task: Task[Any],
    batching: Batching,
    examples: Sequence[Example],
    device: torch.device,
) -> tuple[float, float]:
    precision = config.training.precision
    if task.scoring == "all_pairs":
        num_images, num_captions = PAIRS
        images = batching.images([example.rows[0][0] for example in some_of(examples, num_images)])
        sentences = batching.sentences(
            [example.rows[0][1] for example in some_of(examples, num_captions)], task=task.name
        )

        def seconds_per_pair(precision: str) -> float:
            def score() -> None:
                score_all_pairs(model, task.name, *images, *sentences, device=device, precision=precision, num_exact=0)

            return _quickest(score, device) / (num_images * num_captions)

        is_exact = resolve_precision(precision, device) == "float32"
        return seconds_per_pair(precision), 0.0 if is_exact else seconds_per_pair("float32")
    model.eval()
    batch = batching.batch(task, examples)[0].to(device)

    def answer() -> None:
        with compute_in(precision, device):
            model.logits(task.name, batch)

    return _quickest(answer, device) / len(examples), 0.0


def _quickest(step: Callable[[], Any], device: torch.device) -> float:
    """The quickest of a few measurements, after one that does not count: what others do meanwhile only adds to it."""
    step()
    taken: list[float] = []
    while len(taken) < 5 and sum(taken) < LONG_ENOUGH_S:
        taken.append(seconds_of(step, device))
    return min(taken)
