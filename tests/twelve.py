"""The miniature world with every task of the registry: what contract tests run on.

Two given boxes a picture: the detected regions 0 and 1 a little moved, with features that say their colour.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from tests import miniature
from tests.miniature import COLOURS, FEATURE_DIM, Pictures, captions, colour_of, image_id, picture
from vltool.config import EncoderConfig
from vltool.datasets.records import EntailmentRecord, GqaQuestion, PairStatement, PointingRecord, QuestionRecord
from vltool.models.joint_model import JointModel
from vltool.registry import TASKS, resolve
from vltool.structures import ImageId, RegionFeatures
from vltool.tasks.batching import Batching
from vltool.tasks.network import build_network, sentence_frames, wanted_frame
from vltool.tasks.prepare import PreparedTasks
from vltool.tasks.shared_decoders import answer_pools
from vltool.tasks.task import Task
from vltool.text.vocabulary import Vocabulary
from vltool.text.wordpiece import WordPieces
from vltool.text.words import Words

SPLITS = {"train": range(8), "val": range(8, 10), "test": range(10, 12)}


class Given:
    """Features of the given boxes, in a frame and number of their own."""

    def __init__(self, change: Callable[[RegionFeatures], RegionFeatures] = lambda regions: regions):
        self.change = change

    def get(self, image_id: ImageId) -> RegionFeatures:
        number = int(image_id.partition(":")[2])
        boxes = np.array(given_boxes(number), np.float32)
        return self.change(RegionFeatures(image_id, given_features(number), boxes, height=40, width=60))

    @contextmanager
    def views(self) -> Iterator[Callable[[ImageId], RegionFeatures]]:
        yield self.get


def given_boxes(number: int) -> tuple[tuple[float, float, float, float], ...]:
    return tuple((10.0 * r + 1, 5.0, 10.0 * r + 9, 15.0) for r in range(2))


def given_features(number: int) -> np.ndarray:
    features = np.zeros((2, FEATURE_DIM), np.float16)
    for region in range(2):
        features[region, colour_of(number, region)] = 1
    return features


def colour(number: int, region: int = 0) -> str:
    return COLOURS[colour_of(number, region)]


def visual_genome(numbers: range) -> list[QuestionRecord]:
    return [
        QuestionRecord(n, image_id(n), "What color is it?", (f"{colour(n).title()}.",), question_type="what")
        for n in numbers
    ]


def gqa(numbers: range) -> list[GqaQuestion]:
    found = []
    for n in numbers:
        about = {"structural": "query", "semantic": "attr", "detailed": "directOf", "group": "color", "num_steps": 1}
        found.append(
            GqaQuestion(f"{n}0", image_id(n), "What color is it?", colour(n), True, entailed=(f"{n}1",), **about)
        )
        about = {"structural": "verify", "semantic": "attr", "detailed": "verifyAttr", "num_steps": 2}
        found.append(GqaQuestion(f"{n}1", image_id(n), f"Is it {colour(n)}?", "yes", n % 2 == 0, **about))
    return found


def pointing(numbers: range) -> list[PointingRecord]:
    return [
        PointingRecord(
            str(100 * n + r),
            image_id(n),
            f"the {colour(n, r)} one at {r}",
            given_boxes(n),
            (7, 9),
            (0, 1),
            r,
            height=40,
            width=60,
            kind="success",
        )
        for n in numbers
        for r in range(2)
    ]


def statements(numbers: range) -> list[PairStatement]:
    return [
        PairStatement(
            f"dev-{n}-{k}-0",
            image_id(n),
            image_id(numbers[(n + 1 - numbers[0]) % len(numbers)]),
            f"the left one is {COLOURS[(colour_of(n, 0) + k) % 3]}",
            f"dev-{n}--0",
            k == 0,
        )
        for n in numbers
        for k in range(2)
    ]


def entailment(numbers: range) -> list[EntailmentRecord]:
    labels = ("contradiction", "neutral", "entailment", "")
    return [
        EntailmentRecord(f"{n}-{k}", image_id(n), f"{label} of {n}", label)
        for n in numbers
        for k, label in enumerate(labels)
    ]


RECORDS: dict[str, Callable[[range], list[Any]]] = {
    "coco_retrieval": captions,
    "flickr30k_retrieval": captions,
    "visual_genome_qa": visual_genome,
    "gqa": gqa,
    "refcoco": pointing,
    "refcoco_plus": pointing,
    "refcocog": pointing,
    "visual7w": pointing,
    "guesswhat": pointing,
    "nlvr2": statements,
    "snli_ve": entailment,
}
OPTIONS: dict[str, dict[str, Any]] = {
    "coco_retrieval": {"negatives": 1, "near_pictures": 3, "loss": "softmax"},
    "refcoco_plus": {"train_on_given": True},
    "refcocog": {"candidates": "given"},
}


def make_task(name: str, records: dict[str, list[Any]] | None = None, **options: Any) -> Task[Any]:
    """A task of the registry over its miniature records, or others."""
    found = {split: RECORDS[name](numbers) for split, numbers in SPLITS.items()} if records is None else records
    task: Task[Any] = resolve(TASKS, name, kind="task")(name, found, options=OPTIONS.get(name, {}) | options)
    return task


def every_task() -> dict[str, Task[Any]]:
    """All tasks of the registry: pictures 0-7 train, 8-9 val, 10-11 test."""
    return {**miniature.miniature_tasks(), **{name: make_task(name) for name in RECORDS}}


def twelve_model(
    *names: str,
    tasks: dict[str, Task[Any]] | None = None,
    regions: Any = None,
    given: Any = None,
    encoder: EncoderConfig | None = None,
    levels: Mapping[str, int] | None = None,
    decoders: Mapping[str, str] | None = None,
) -> tuple[JointModel, PreparedTasks, Batching]:
    """An untrained model for some tasks (all), with their answer pools; their batching.

    encoder: d = 16 unless another is given, with the words that it reads. levels: 2 for a task that is not in it.
    decoders: task → the name of its decoder, where it is not its own.
    """
    chosen = tasks or {name: task for name, task in every_task().items() if not names or name in names}
    examples = {name: {s: task.examples(s) for s in SPLITS} for name, task in chosen.items()}
    sentences = dict.fromkeys(s for splits in examples.values() for es in splits.values() for s in miniature.texts(es))
    config = miniature.miniature_config("nowhere")
    config = replace(config, encoder=encoder or config.encoder, tasks=dict.fromkeys(chosen, config.tasks["vqa"]))
    words: Words
    if any(wanted_frame(config.encoder)):
        words = WordPieces.learn(sentences, size=120)
        tokens = dict(zip(sentences, words.tokenize_all(sentences), strict=True))
    else:
        tokens = {sentence: tuple(sentence.split()) for sentence in sentences}
        words = Vocabulary.build(list(tokens.values()))
    training = {name: splits["train"] for name, splits in examples.items()}
    pools = answer_pools(chosen, training, decoders or {}, threshold=0)
    for name, task in chosen.items():
        task.learn_words(words)
        if name in pools:
            task.learn_answers(pools[name])
    regions = regions or Pictures()
    for name, task in chosen.items():
        task.prepare_training(examples[name]["train"], regions)
    model = build_network(
        config.encoder,
        chosen,
        {name: (levels or {}).get(name, 2) for name in chosen},
        vectors=np.random.default_rng(0).normal(0, 1, (len(words), 6)).astype(np.float32),
        feature_dim=FEATURE_DIM,
        seed=0,
        decoders=decoders,
    )
    token_ids = {sentence: np.array(words.ids(found), np.int64) for sentence, found in tokens.items()}
    frames = sentence_frames(config, words)
    batching = Batching(regions, tokens, token_ids, given=given or Given(), frames=frames)
    return model, PreparedTasks(chosen, examples, ()), batching


__all__ = ["Given", "every_task", "make_task", "picture", "twelve_model"]
