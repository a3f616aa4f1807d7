"""What the readers of official files give: one frozen record per caption, question, grounded caption and so on.

Boxes are x1 y1 x2 y2 in pixels of the original image, 0-based.
"""

from __future__ import annotations

from dataclasses import dataclass

from vltool.structures import ImageId


@dataclass(frozen=True, slots=True)
class CaptionRecord:
    """One caption of one picture."""

    caption_id: str
    image_id: ImageId
    text: str


@dataclass(frozen=True, slots=True)
class QuestionRecord:
    """One question about one picture; `answers` holds the ten annotators' words, or nothing for test sets.

    correct_answer: the one answer that the dataset counts as right (VQA's multiple_choice_answer).
    """

    question_id: int
    image_id: ImageId
    question: str
    answers: tuple[str, ...] = ()
    question_type: str = ""
    answer_type: str = ""
    correct_answer: str = ""


@dataclass(frozen=True, slots=True)
class Phrase:
    """A run of words in a caption and the boxes of the things it names.

    words first_word … first_word + num_words - 1 of the caption's tokens. boxes: none for scene and no-box
    phrases, which `is_scene` and `has_no_box` tell apart. types: the dataset's coarse types.
    """

    first_word: int
    num_words: int
    chain_id: str
    types: tuple[str, ...]
    boxes: tuple[tuple[float, float, float, float], ...]
    is_scene: bool = False
    has_no_box: bool = False


@dataclass(frozen=True, slots=True)
class GroundedCaption:
    """A caption whose noun phrases are tied to boxes. tokens: the words as the dataset separates them.

    is_unrelated: it does not belong to its picture, as the dataset's own list says.
    """

    image_id: ImageId
    sentence_index: int
    tokens: tuple[str, ...]
    phrases: tuple[Phrase, ...]
    height: int
    width: int
    is_unrelated: bool = False


@dataclass(frozen=True, slots=True)
class ObjectRecord:
    """One thing in one picture: its box and what it is. is_crowd: the box holds many of them."""

    object_id: int
    image_id: ImageId
    class_name: str
    box: tuple[float, float, float, float]
    height: int
    width: int
    is_crowd: bool = False


@dataclass(frozen=True, slots=True)
class GqaQuestion:
    """One question of GQA. answer: "" where it is secret, and then nothing else is known.

    is_balanced: whether it counts in the official scores. structural, semantic, detailed: its types. group: the global
    group of its answers ("" for none). entailed: ids of the questions whose answers follow from its own. num_steps:
    of reasoning, as the official evaluator counts them. valid, plausible: answers, where the file of choices is given.
    """

    question_id: str
    image_id: ImageId
    question: str
    answer: str = ""
    is_balanced: bool = True
    structural: str = ""
    semantic: str = ""
    detailed: str = ""
    group: str = ""
    entailed: tuple[str, ...] = ()
    num_steps: int = 0
    valid: tuple[str, ...] | None = None
    plausible: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class PointingRecord:
    """An expression, question or dialogue about one of the boxes that are given for a picture.

    boxes: of the picture, the same for all its records. box_ids: what the dataset calls them. candidates: places in
    `boxes` that may be pointed at. answer: the place of the right one. height, width: of the picture that the boxes
    are in, 0 where the files do not say. kind: what the dataset says of it (the type of a question, the end of a game).
    turns: question and answer, where `text` is a dialogue.
    """

    record_id: str
    image_id: ImageId
    text: str
    boxes: tuple[tuple[float, float, float, float], ...]
    box_ids: tuple[int, ...]
    candidates: tuple[int, ...]
    answer: int
    height: int = 0
    width: int = 0
    kind: str = ""
    turns: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class PairStatement:
    """A statement about two pictures; is_true: None where the label is secret.

    sentence_id: the same for all pairs of pictures that one sentence was written about.
    """

    identifier: str
    image_id: ImageId
    other_image_id: ImageId
    sentence: str
    sentence_id: str
    is_true: bool | None = None


@dataclass(frozen=True, slots=True)
class EntailmentRecord:
    """A hypothesis about a picture. label: entailment, neutral, contradiction; "" where annotators did not agree."""

    pair_id: str
    image_id: ImageId
    hypothesis: str
    label: str
