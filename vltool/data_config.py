"""The configuration of what is learned from: the generated world, pictures and their features, words, sources.

features: {store: "{out}/features.lmdb", extract: [{images: ["{world}/images"], image_id: "coco:{number}"}]}
text: {glove: glove.840B.300d.txt, answer_threshold: 8}
tasks: {vqa: {train: [{reader: vqa_v2, files: {questions: q.json, annotations: a.json}, every: 10, keep: [0, 1]}]}}
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from vltool.training_config import AtLeastOne, Count, Share

Seed = Annotated[int, Field(ge=0, lt=2**32, strict=True)]
Filled = Annotated[str, Field(min_length=1)]


@dataclass(frozen=True)
class WorldConfig:
    """The generated world: where it is written, how many pictures of each set, and its seed.

    twelve: whether it has the further datasets of 12-in-1 too.
    """

    out: str = "{out}/world"
    train: AtLeastOne = 600
    val: Count = 150
    test: Count = 200
    seed: Seed = 0
    questions_per_image: AtLeastOne = 8
    twelve: bool = False


@dataclass(frozen=True)
class ImagesConfig:
    """Pictures to extract: files, folders or @lists, and the pattern of their canonical ids.

    vg_images: Visual Genome's image_data.json, by which its pictures that are COCO's get their coco: ids.
    """

    images: tuple[str, ...]
    image_id: str = "file:{stem}"
    vg_images: str = ""


@dataclass(frozen=True)
class FeaturesConfig:
    """The store of region features, and how it is made when `extract` names pictures.

    given_store: features of the boxes that datasets give (referring expressions, pointing), from the same pictures.
    """

    store: str = "{out}/features.lmdb"
    given_store: str = ""
    extract: tuple[ImagesConfig, ...] = ()
    backend: str = "auto"
    config_file: str = ""
    weights: str = ""
    recipe: Literal["bottom-up", "bottom-up-36", "detections"] = "bottom-up"
    min_boxes: Count = 10
    max_boxes: AtLeastOne = 100
    score_threshold: Share = 0.2
    nms_threshold: Share = 0.3
    dtype: Literal["float16", "float32"] = "float16"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    workers: Count = 0
    on_error: Literal["skip", "stop"] = "skip"
    engine: Literal["local", "ray"] = "local"
    ray_address: str = ""

    @property
    def selection(self) -> dict[str, Any]:
        """Which regions are kept and how their numbers are stored, as `features.extract` takes it."""
        names = ("recipe", "min_boxes", "max_boxes", "score_threshold", "nms_threshold", "dtype")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class TextConfig:
    """Tokens and word vectors. answer_threshold: answers that are right more often than this make the pool.

    tokenizer: words by spaCy, with GloVe's vectors; or word pieces, of a `vocab.txt` (wordpiece_vocab) or, without one,
    at most wordpiece_size learned from training text. max_tokens: what is longer is cut, and counted; 0: nothing is.
    """

    glove: Filled = "world"
    min_count: AtLeastOne = 1
    answer_threshold: Count = 8
    tokenizer: Literal["spacy", "wordpiece"] = "spacy"
    wordpiece_vocab: str = ""
    wordpiece_size: AtLeastOne = 2000
    max_tokens: Count = 0


@dataclass(frozen=True)
class SourceConfig:
    """One official dataset in its own files.

    every, keep: of the pictures in the order of their ids, picture k is used when k mod every is in keep.
    missing_features: what happens to examples whose picture is not in the store. expect: how many records (captions,
    questions, grounded captions) or pictures it must have, after every and keep; another number is an error.
    """

    reader: str
    files: dict[str, str]
    split: str = ""
    image_id: str = ""
    every: AtLeastOne = 1
    keep: tuple[Count, ...] = (0,)
    missing_features: Literal["error", "drop"] = "error"
    expect: dict[Literal["records", "pictures"], AtLeastOne] = field(default_factory=dict)
