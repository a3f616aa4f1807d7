"""What the readers of official files give: one frozen record per caption, question or grounded caption.

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
