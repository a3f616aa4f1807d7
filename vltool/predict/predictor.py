"""Answers, matches and groundings for one's own pictures and words, by a checkpoint.

>>> model = vltool.load("runs/mine/training/joint/checkpoint")
>>> model.answer("photo.jpg", "what colour is the bike?")[0]
Answer(answer='red', probability=0.83)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from vltool.config import from_dict
from vltool.datasets.records import GroundedCaption, Phrase, QuestionRecord
from vltool.errors import ConfigError, DataError
from vltool.evaluation.pair_scores import score_all_pairs
from vltool.models.joint_model import JointModel
from vltool.models.precision import compute_in
from vltool.predict.detection import DescribedPictures, detector_of, recipe_of
from vltool.structures import Example, ImageId, RegionFeatures
from vltool.tasks.batching import Batching, Frame
from vltool.tasks.caption_retrieval import CaptionRetrieval
from vltool.tasks.grounding import VisualGrounding
from vltool.tasks.network import sentence_frames
from vltool.tasks.task import Task
from vltool.tasks.vqa import VisualQuestionAnswering
from vltool.text.phrases import MarkedSentence, find_phrases, load_parser
from vltool.text.words import Words, words_from_json
from vltool.training import checkpoint as checkpoints
from vltool.training.run import pick_device
from vltool.training.saved_network import network_of

Image = str | Path | np.ndarray
TaskT = TypeVar("TaskT", bound=Task[Any])


@dataclass(frozen=True)
class Answer:
    """One answer of the pool. probability: of being right, of this answer alone (they need not sum to one)."""

    answer: str
    probability: float


@dataclass(frozen=True)
class GroundedPhrase:
    """A phrase and the region it was taken for: x1 y1 x2 y2 in pixels of the picture. span: [start, end) of tokens."""

    phrase: str
    box: tuple[float, float, float, float]
    probability: float
    span: tuple[int, int]


class Predictor:
    """A trained model that can be asked about any picture. Made by `vltool.load`."""

    def __init__(
        self,
        model: JointModel,
        tasks: dict[str, Task[Any]],
        words: Words,
        pictures: DescribedPictures,
        *,
        frames: Mapping[str, Frame] | None = None,
        device: torch.device,
        precision: str = "float32",
    ) -> None:
        self.model, self.tasks, self.words, self.pictures = model.to(device).eval(), tasks, words, pictures
        self.frames = frames or {}
        self.device, self.precision = device, precision
        for task in tasks.values():
            task.learn_words(words)

    def answer(self, image: Image, question: str, *, top: int = 5) -> list[Answer]:
        """The `top` answers to a question about a picture, best first. Raises DataError, or ConfigError without VQA.

        top: at least 1; of a smaller pool, every answer. Probabilities are rounded to six digits.
        """
        if isinstance(top, bool) or not isinstance(top, int | np.integer) or top < 1:
            raise DataError(f"top={top!r}: expected how many answers are wanted, a whole number from 1")
        task = self.task_of(VisualQuestionAnswering, "answers questions")
        logits = self._logits(task, self.example(task, self.pictures.add(image), question))[0]  # (answers,)
        assert task.pool is not None
        best = logits.topk(min(top, len(logits)))
        return [
            Answer(task.pool.answers[int(place)], round(float(value.sigmoid()), 6))
            for value, place in zip(best.values, best.indices, strict=True)
        ]

    def match(self, images: Sequence[Image], captions: Sequence[str]) -> np.ndarray:
        """(images, captions) float32 in [0, 1]: how well each picture and caption match (eq. 7 of the paper).

        Raises DataError for a single picture or caption that is not in a list, and for what cannot be read.
        """
        for name, given in (("images", images), ("captions", captions)):
            if isinstance(given, str) or not isinstance(given, Sequence):
                raise DataError(f"match: {name} is a list, also of a single one, as in [{_shown(given)}]")
        if not images or not captions:
            raise DataError("matching needs at least one picture and one caption")
        task = self.task_of(CaptionRetrieval, "matches pictures and captions")
        image_ids = [self.pictures.add(image) for image in images]
        batching = self._batching(captions)
        tokens, token_mask = batching.sentences(captions, task=task.name)
        scores = score_all_pairs(
            self.model,
            task.name,
            *batching.images(image_ids),
            tokens,
            token_mask,
            device=self.device,
            precision=self.precision,
        )
        probabilities: np.ndarray = torch.from_numpy(scores).sigmoid().numpy()
        return probabilities

    def ground(self, image: Image, text: str, *, parser: str = "") -> list[GroundedPhrase]:
        """The best region of each phrase of a text, in the order of the phrases.

        Phrases are those in [brackets]; in a text without brackets, the noun chunks of the spaCy model `parser`.
        """
        task = self.task_of(VisualGrounding, "grounds phrases")
        marked = marked_sentence(text, parser)
        image_id = self.pictures.add(image)
        logits = self._logits(task, grounding_example(image_id, marked, self.pictures.get(image_id)))[0]  # (P, R)
        regions = self.pictures.get(image_id)
        found = []
        aligned = self.words.align(marked.tokens)
        for phrase, (start, end), scores in zip(marked.phrases, marked.token_spans, logits, strict=True):
            span = aligned.span(start, end - start)
            best = int(scores[: regions.num_regions].argmax())
            x1, y1, x2, y2 = (round(float(value), 2) for value in regions.boxes[best])
            found.append(GroundedPhrase(phrase, (x1, y1, x2, y2), round(float(scores[best].sigmoid()), 6), span))
        return found

    def unknown_words(self, sentence: str) -> list[str]:
        """The words of a sentence that were in no training text: the model reads all of them as one unknown word."""
        _check_text(sentence)
        words = self.words.tokenize(sentence.replace("[", "").replace("]", ""))
        return [word for word in dict.fromkeys(words) if word not in self.words]

    def task_of(self, kind: type[TaskT], what: str) -> TaskT:
        """The checkpoint's task of a kind. Raises ConfigError where it has none."""
        for task in self.tasks.values():
            if isinstance(task, kind):
                return task
        raise ConfigError(f"this checkpoint has no task that {what}; it has {', '.join(self.tasks)}")

    def example(self, task: Task[Any], image_id: ImageId, sentence: str) -> Example:
        """A question, or a caption, about a picture as the tasks' examples are."""
        self._tokens(sentence)
        target = QuestionRecord(0, image_id, sentence, ()) if isinstance(task, VisualQuestionAnswering) else None
        return Example("0", ((image_id, sentence),), target)

    def _logits(self, task: Task[Any], example: Example) -> Tensor:
        batch, _ = self._batching([example.rows[0][1]]).batch(task, [example])
        with torch.inference_mode(), compute_in(self.precision, self.device):
            return self.model.logits(task.name, batch.to(self.device)).float().cpu()

    def _batching(self, sentences: Sequence[str]) -> Batching:
        tokens = {sentence: self._tokens(sentence) for sentence in sentences}
        ids = {sentence: np.array(self.words.ids(found), np.int64) for sentence, found in tokens.items()}
        return Batching(self.pictures, tokens, ids, frames=self.frames)

    def _tokens(self, sentence: str) -> tuple[str, ...]:
        _check_text(sentence)
        found = self.words.tokenize(sentence)
        _check_words(sentence, found)
        return found

    def batching_of(self, sentence: str) -> Batching:
        """Batches of one sentence and the described pictures, for figures."""
        return self._batching([sentence])


def _check_text(sentence: object) -> None:
    if not isinstance(sentence, str):
        raise DataError(f"{_shown(sentence)}: expected words, as text")


def _shown(value: object) -> str:
    """A value as messages show it: arrays are named by their kind alone."""
    return repr(value) if isinstance(value, str | int | float | None) else type(value).__name__


def _check_words(sentence: str, tokens: Sequence[str]) -> None:
    if not any(letter.isalnum() for token in tokens for letter in token):
        raise DataError(f"{sentence!r}: expected words")


def marked_sentence(text: str, parser: str) -> MarkedSentence:
    """A text with its phrases. Raises DataError where it has none."""
    _check_text(text)
    marked = find_phrases(text, parser=load_parser(parser) if parser and "[" not in text else None)
    if not marked.phrases:
        raise DataError(
            f"{text!r}: no phrase to look for. Put phrases in [brackets], as in 'is [anyone] riding [the bike]', or "
            "name a spaCy model with --parser"
        )
    return marked


def grounding_example(image_id: ImageId, marked: MarkedSentence, regions: RegionFeatures) -> Example:
    """A sentence with marked phrases as the grounding task reads it; the whole picture stands for unknown boxes."""
    everything = ((0.0, 0.0, float(regions.width), float(regions.height)),)
    phrases = tuple(
        Phrase(start, end - start, str(number), (), everything)
        for number, (start, end) in enumerate(marked.token_spans)
    )
    record = GroundedCaption(image_id, 0, marked.tokens, phrases, height=regions.height, width=regions.width)
    return Example("0", ((image_id, " ".join(marked.tokens)),), record)


def load(
    checkpoint: str | Path,
    *,
    device: str = "auto",
    precision: str = "auto",
    config_file: str | Path | None = None,
    weights: str | Path | None = None,
) -> Predictor:
    """The model of a checkpoint, with its words and its detector, ready for one's own pictures.

    device: "auto", "cpu" or "cuda". precision: "auto", "float32" or "bfloat16". config_file, weights: the detector's
    files, where the checkpoint cannot know them. Raises CheckpointError where something does not belong together.
    """
    saved = checkpoints.load(checkpoint)
    config = from_dict(saved.run["config"], where=str(checkpoint))
    store = saved.run.get("store_header") or {}
    detector = detector_of(config.features, store, where=str(checkpoint), config_file=config_file, weights=weights)
    pictures = DescribedPictures(detector, recipe_of(config.features, store), config.features.dtype)
    model, tasks = network_of(saved)
    words = words_from_json(saved.run["words"])
    frames = sentence_frames(config, words)
    return Predictor(model, tasks, words, pictures, frames=frames, device=pick_device(device), precision=precision)
