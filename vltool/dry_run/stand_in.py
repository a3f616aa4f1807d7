"""Examples to time a run's steps with: the run's own where its files are there, else a few of the generated world."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vltool.config import RunConfig, SourceConfig, SplitsConfig, sources_of
from vltool.structures import Example, ImageId, RegionFeatures
from vltool.tasks.batching import Frame
from vltool.tasks.corpus import word_pieces
from vltool.tasks.given_boxes import boxes_to_pool
from vltool.tasks.network import sentence_frames
from vltool.tasks.prepare import PreparedTasks, prepare_tasks
from vltool.tasks.task import Task
from vltool.text.tokenizer import tokenize_all
from vltool.text.vocabulary import Vocabulary
from vltool.text.words import Words

NUM_PICTURES = 60
NUM_WORDS = 1000  # word vectors are looked up, so that their number does not count
_KARPATHY = SourceConfig("karpathy", {"dataset": "dataset_coco.json"}, split="train")
_OF_READER = {  # what stands for the files of each reader
    "karpathy": _KARPATHY,
    "coco_captions": _KARPATHY,
    "flickr30k_captions": _KARPATHY,
    "vqa_v2": SourceConfig(
        "vqa_v2",
        {
            "questions": "v2_OpenEnded_mscoco_train2014_questions.json",
            "annotations": "v2_mscoco_train2014_annotations.json",
        },
    ),
    "flickr30k_entities": SourceConfig(
        "flickr30k_entities",
        {
            "annotations": "flickr30k_entities/Annotations",
            "sentences": "flickr30k_entities/Sentences",
            "ids": "flickr30k_entities/train.txt",
        },
    ),
}
_OF_TWELVE = {  # the same, of the readers of the further datasets of 12-in-1
    "visual_genome_qa": SourceConfig("visual_genome_qa", {"questions": "visual_genome/question_answers.json"}),
    "gqa": SourceConfig("gqa", {"questions": "gqa/train_balanced_questions.json"}),
    "referring": SourceConfig(
        "referring", {"refs": "refcoco/refs(unc).p", "instances": "refcoco/instances.json"}, split="train"
    ),
    "visual7w": SourceConfig(
        "visual7w",
        {"dataset": "visual7w/dataset_v7w_pointing.json", "images": "visual_genome/image_data.json"},
        split="train",
    ),
    "guesswhat": SourceConfig("guesswhat", {"games": "guesswhat/guesswhat.train.jsonl.gz"}),
    "nlvr2": SourceConfig("nlvr2", {"statements": "nlvr2/train.json"}),
    "snli_ve": SourceConfig("snli_ve", {"pairs": "snli_ve/snli_ve_train.jsonl"}),
    "conceptual_captions": SourceConfig(
        "conceptual_captions", {"captions": "conceptual_captions/Train_GCC-training.tsv"}
    ),
}
_BOX_PX = 200.0


def stand_in_tasks(config: RunConfig) -> PreparedTasks:
    """The run's tasks over a small generated world, which is drawn for it and thrown away."""
    from vltool.world.files import write_world
    from vltool.world.twelve.splits import LEAST

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        further = any(source.reader in _OF_TWELVE for _, source in sources_of(config))
        sizes = {"num_train": NUM_PICTURES, "num_val": 4, "num_test": 4}
        if further:
            sizes = {name: max(count, LEAST[name]) for name, count in sizes.items()}
        write_world(
            folder,
            num_train=sizes["num_train"],
            num_val=sizes["num_val"],
            num_test=sizes["num_test"],
            questions_per_image=8,
            twelve=further,
        )
        tasks = {}
        for task, settings in config.tasks.items():
            known = [found for source in settings.train if (found := _stand_in(source.reader, folder))]
            if known:
                tasks[task] = replace(settings, train=(known[0],), val=(), test=())
        return prepare_tasks(replace(config, tasks=tasks, splits=SplitsConfig(protocol="off")))


def _stand_in(reader: str, folder: Path) -> SourceConfig | None:
    """What stands for a source of a reader, in the world in `folder`; None for a reader that vltool does not know."""
    found = _OF_READER.get(reader) or _OF_TWELVE.get(reader)
    if found is None:
        return None
    files = {key: str(folder / path) for key, path in found.files.items()}
    return replace(found, files=files, image_id="world:{number}" if reader in _OF_READER else "")


class RandomRegions:
    """Features of any picture: random numbers, of the store's width and number of regions."""

    def __init__(self, feature_dim: int, region_counts: Sequence[int], dtype: str):
        draw = np.random.default_rng(0)
        self._counts = region_counts
        most = max(region_counts)
        self._features = draw.normal(0, 1, (most, feature_dim)).astype(dtype)
        corner = draw.uniform(0, _BOX_PX, (most, 2))
        self._boxes = np.concatenate([corner, corner + draw.uniform(20, _BOX_PX, (most, 2))], axis=1).astype(np.float32)
        self._places: dict[str, int] = {}

    def get(self, image_id: ImageId) -> RegionFeatures:
        place = self._places.setdefault(image_id, len(self._places))
        count = self._counts[place % len(self._counts)]
        side = int(2 * _BOX_PX)
        features, boxes, classes = self._features[:count], self._boxes[:count], np.zeros(count, np.int64)
        return RegionFeatures(image_id, features, boxes, height=side, width=side, classes=classes)

    @contextmanager
    def views(self) -> Iterator[Callable[[ImageId], RegionFeatures]]:
        yield self.get


class RandomGiven:
    """Features of given boxes: those of `RandomRegions` again and again."""

    def __init__(self, regions: RandomRegions, task: Task[Any], examples: Sequence[Example]):
        self._regions = regions
        wanted = (
            (task.name, example.rows[0][0], given)
            for example in examples
            for training in (True, False)
            if (given := task.given_boxes(example, training=training)) is not None
        )
        side = int(2 * _BOX_PX)
        self._boxes = boxes_to_pool(wanted, lambda image_id: (side, side))

    def get(self, image_id: ImageId) -> RegionFeatures:
        found, boxes = self._regions.get(image_id), self._boxes[image_id]
        features = np.resize(found.features, (len(boxes), found.features.shape[1]))
        return RegionFeatures(image_id, features, boxes, height=found.height, width=found.width)

    @contextmanager
    def views(self) -> Iterator[Callable[[ImageId], RegionFeatures]]:
        yield self.get


def some_of(examples: Sequence[Example], count: int) -> list[Example]:
    """`count` examples, evenly spaced; fewer come again."""
    step = max(1, len(examples) // count)
    chosen = list(examples[::step][:count])
    return [chosen[k % len(chosen)] for k in range(count)]


def sentences_of(examples: Sequence[Example]) -> list[str]:
    """The distinct sentences of examples, in order."""
    return list(dict.fromkeys(sentence for example in examples for _, sentence in example.rows))


@dataclass(frozen=True)
class StandInWords:
    """The tokens of some sentences as the run would have them, and ids for them, and what knows its tokens."""

    tokens: dict[str, tuple[str, ...]]
    ids: dict[str, np.ndarray]
    frames: dict[str, Frame]
    vocabulary: Words

    @property
    def num_rows(self) -> int:
        return len(self.vocabulary)


def words_of(config: RunConfig, sentences: Sequence[str]) -> StandInWords:
    """Word pieces of the run's vocabulary, or of these sentences; or words, of which any row will do for the time."""
    if config.text.tokenizer == "wordpiece":
        pieces = word_pieces(sentences, config.text)
        tokens = dict(zip(sentences, pieces.tokenize_all(sentences), strict=True))
        ids = {sentence: np.array(pieces.ids(found), np.int64) for sentence, found in tokens.items()}
        return StandInWords(tokens, ids, sentence_frames(config, pieces), pieces)
    tokens = dict(zip(sentences, map(tuple, tokenize_all(sentences)), strict=True))
    draw = np.random.default_rng(0)
    ids = {sentence: draw.integers(2, NUM_WORDS, max(1, len(found))) for sentence, found in tokens.items()}
    vocabulary = Vocabulary(f"word {number}" for number in range(2, NUM_WORDS))
    return StandInWords(tokens, ids, {}, vocabulary)
