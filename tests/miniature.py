"""A world of twelve pictures small enough to hold in memory, with every task: what trainer tests run on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch

from vltool.config import RunConfig, from_dict
from vltool.datasets.records import CaptionRecord, GroundedCaption, Phrase, QuestionRecord
from vltool.metrics.answer_words import normalize_answer
from vltool.models.joint_model import JointModel
from vltool.structures import Example, ImageId, RegionFeatures
from vltool.tasks.alignment import Alignment
from vltool.tasks.batching import Batching
from vltool.tasks.caption_retrieval import CaptionRetrieval
from vltool.tasks.corpus import Corpus
from vltool.tasks.grounding import VisualGrounding
from vltool.tasks.masked_modelling import MaskedRegions, MaskedWords
from vltool.tasks.network import build_network
from vltool.tasks.prepare import PreparedTasks
from vltool.tasks.task import Task
from vltool.tasks.vqa import VisualQuestionAnswering
from vltool.text.vocabulary import AnswerPool, Vocabulary
from vltool.text.wordpiece import WordPieces

COLOURS = ("red", "green", "blue")
FEATURE_DIM = 8
NUM_IMAGES = 12


class Pictures:
    """Region features by image id: region k of picture n is a box of one colour; the feature says which."""

    def __init__(self) -> None:
        self.header = {"feature_dim": FEATURE_DIM, "fingerprint": "miniature", "class_names": COLOURS}
        self.held = {image_id(n): picture(n) for n in range(NUM_IMAGES)}

    def get(self, image_id: ImageId) -> RegionFeatures:
        return self.held[image_id]

    @contextmanager
    def views(self) -> Iterator[Callable[[ImageId], RegionFeatures]]:
        yield self.get

    def __contains__(self, image_id: object) -> bool:
        return image_id in self.held

    def __len__(self) -> int:
        return len(self.held)


def image_id(number: int) -> ImageId:
    return ImageId(f"file:{number:02}")


def colour_of(number: int, region: int) -> int:
    return (number + region * (1 + number // 3)) % 3


def picture(number: int) -> RegionFeatures:
    num_regions = 2 + number % 3
    noise = np.random.default_rng(number).normal(0, 0.1, (num_regions, FEATURE_DIM))
    for region in range(num_regions):
        noise[region, colour_of(number, region)] += 1
    boxes = np.array([[10 * r, 5, 10 * r + 8, 15] for r in range(num_regions)], np.float32)
    classes = np.array([colour_of(number, region) for region in range(num_regions)])
    return RegionFeatures(image_id(number), noise.astype(np.float16), boxes, height=40, width=60, classes=classes)


def captions(numbers: range) -> list[CaptionRecord]:
    return [
        CaptionRecord(
            f"{n}-{k}",
            image_id(n),
            f"a {COLOURS[colour_of(n, 0)]} and a {COLOURS[colour_of(n, 1)]} box number {n % 4 + k}",
        )
        for n in numbers
        for k in range(2)
    ]


def questions(numbers: range) -> list[QuestionRecord]:
    found = []
    for n in numbers:
        here = {COLOURS[colour_of(n, r)] for r in range(picture(n).num_regions)}
        for k, colour in enumerate(COLOURS):
            answer = "yes" if colour in here else "no"
            found.append(
                QuestionRecord(
                    10 * n + k, image_id(n), f"is there a {colour} box ?", (answer,) * 10, "is there a", "yes/no"
                )
            )
    return found


def grounded(numbers: range) -> list[GroundedCaption]:
    found = []
    for n in numbers:
        words = ("the", COLOURS[colour_of(n, 0)], "box", "beside", "the", COLOURS[colour_of(n, 1)], "one", "here")
        boxes = [tuple(map(float, box)) for box in picture(n).boxes]
        phrases = (
            Phrase(0, 3, "1", ("other",), (boxes[0],)),
            Phrase(4, 3, "2", ("other",), (boxes[1],)),
            Phrase(7, 1, "3", ("scene",), (), is_scene=True),
        )
        found.append(GroundedCaption(image_id(n), 0, words, phrases, height=40, width=60))
    return found


LEVELS = {"caption_retrieval": 2, "vqa": 3, "grounding": 1, "masked_words": 3, "masked_regions": 2, "alignment": 1}
"""A level for each task."""


def miniature_tasks() -> dict[str, Task]:
    """Every task: pictures 0-7 train, 8-9 val, 10-11 test."""
    splits = {"train": range(8), "val": range(8, 10), "test": range(10, 12)}
    tasks = {
        "caption_retrieval": CaptionRetrieval("caption_retrieval", {s: captions(n) for s, n in splits.items()}),
        "vqa": VisualQuestionAnswering("vqa", {s: questions(n) for s, n in splits.items()}),
        "grounding": VisualGrounding("grounding", {s: grounded(n) for s, n in splits.items()}),
        "masked_words": MaskedWords("masked_words", {s: captions(n) for s, n in splits.items()}),
        "masked_regions": MaskedRegions("masked_regions", {s: captions(n) for s, n in splits.items()}),
        "alignment": Alignment("alignment", {s: captions(n) for s, n in splits.items()}),
    }
    for task in tasks.values():
        task.learn_features({"class_names": COLOURS})
    return tasks


def miniature_prepared() -> PreparedTasks:
    tasks = miniature_tasks()
    examples = {name: {s: task.examples(s) for s in ("train", "val", "test")} for name, task in tasks.items()}
    return PreparedTasks(tasks, examples, counts=())


def miniature_corpus(prepared: PreparedTasks) -> Corpus:
    sentences = list(
        dict.fromkeys(s for splits in prepared.examples.values() for es in splits.values() for s in texts(es))
    )
    tokens = {sentence: tuple(sentence.split()) for sentence in sentences}
    words = Vocabulary.build(list(tokens.values()))
    vectors = np.random.default_rng(0).normal(0, 1, (len(words), 6)).astype(np.float32)
    vqa = prepared.tasks["vqa"]
    answers = {
        "vqa": AnswerPool.build(vqa.answers(prepared.examples["vqa"]["train"]), threshold=0, normalize=normalize_answer)
    }
    corpus = Corpus(words, vectors, tokens, answers, {"percent": 100.0})
    corpus.teach(prepared)
    return corpus


def miniature_pieces(prepared: PreparedTasks) -> Corpus:
    """The same sentences in word pieces learned from all of them."""
    corpus = miniature_corpus(prepared)
    words = WordPieces.learn(corpus.tokens, size=60)
    tokens = dict(zip(corpus.tokens, words.tokenize_all(corpus.tokens), strict=True))
    vectors = np.zeros((len(words), 0), np.float32)
    corpus = replace(corpus, words=words, tokens=tokens, vectors=vectors)
    corpus.teach(prepared)
    return corpus


def texts(examples: tuple[Example, ...]) -> list[str]:
    return [sentence for example in examples for _, sentence in example.rows]


def miniature_config(out: str, **training: object) -> RunConfig:
    source = {"reader": "vqa_v2", "files": {}}
    tasks = {name: {"train": [source], "val": [source]} for name in miniature_tasks()}
    options = {"width": 16, "num_levels": 3, "lstm_width": 5, "num_maps": 2}
    return from_dict(
        {
            "name": "miniature",
            "out": out,
            "tasks": tasks,
            "encoder": {"name": "dense_coattention", "options": options},
            "training": {"cycle_updates": 6, "precision": "float32", "checkpoint_every": 1, **training},
        }
    )


def miniature_model(
    levels: dict[str, int] | None = None, *, seed: int = 0
) -> tuple[JointModel, PreparedTasks, Batching]:
    """An untrained joint model of d = 16 and three levels, its tasks and their batching."""
    prepared = miniature_prepared()
    corpus = miniature_corpus(prepared)
    config = miniature_config("nowhere")
    levels = levels or LEVELS
    model = build_network(
        config.encoder,
        {name: prepared.tasks[name] for name in levels},
        levels,
        vectors=corpus.vectors,
        feature_dim=FEATURE_DIM,
        seed=seed,
    )
    return model, replace(prepared), Batching(Pictures(), corpus.tokens, corpus.token_ids)


def snapshot(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}
