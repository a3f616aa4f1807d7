"""VQA v2: questions, the ten annotators' answers, and files of predicted answers.

    questions:    {"questions":   [{"image_id": 690, "question": "How many trees are …?", "question_id": 690003}, …], …}
    annotations:  {"annotations": [{"question_id": 690003, "image_id": 690, "question_type": "how many",
                    "answer_type": "number", "multiple_choice_answer": "50",
                    "answers": [{"answer": "50", "answer_confidence": "maybe", "answer_id": 1}, … ten]}, …], …}
    results:      [{"question_id": 690003, "answer": "12"}, …]

Format: visualqa.org/download, and PythonHelperTools/vqaTools/vqa.py of GT-Vision-Lab/VQA at a013f004.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from sys import intern
from typing import Any, NamedTuple

from vltool.datasets import checks
from vltool.datasets.checks import Place
from vltool.datasets.image_ids import ImageNamer
from vltool.datasets.records import QuestionRecord
from vltool.datasets.sources import check_files, pick, read_json, require
from vltool.errors import DataError

DEFAULT_IMAGE_ID = "coco:{number}"


class _Annotation(NamedTuple):
    image: int
    answers: tuple[str, ...]
    question_type: str
    answer_type: str
    correct_answer: str


def read(*, files: Mapping[str, Path], split: str = "", image_id: str = "") -> list[QuestionRecord]:
    """Every question, in the order of the questions file, with its answers where `annotations` is given.

    files: `questions` and optionally `annotations`; several sets at once are named `train_questions`,
    `val_questions` … and chosen by split: `train`, `train+val`. image_id: pattern of the pictures' ids
    (default: coco:{number}). Raises DataError, also for a question without annotation or the reverse.
    """
    check_files(files, split, known=("questions", "annotations"))
    namer = ImageNamer(image_id or DEFAULT_IMAGE_ID)
    records: list[QuestionRecord] = []
    seen: set[int] = set()
    for part in split.split("+"):
        questions = require(files, "questions", part)
        annotations = pick(files, "annotations", part)
        records += _read_part(questions, annotations, namer, seen)
    return records


def read_results(path: Path | str) -> dict[int, str]:
    """Predicted answers by question, from a results file. Raises DataError for a question answered twice."""
    content = read_json(path)
    if not isinstance(content, list):
        raise DataError(f'{path}: expected a list of {{"question_id": number, "answer": text}}')
    found: dict[int, str] = {}
    for index, value in enumerate(content):
        place = Place(path, "results", index)
        fields = checks.record(value, place)
        number = checks.whole(fields, "question_id", place)
        if number in found:
            place.fail("question_id", "a question that is not answered before", number)
        found[number] = checks.text(fields, "answer", place, blank=True)
    return found


def check_results(
    answers: Mapping[int, str], question_ids: Collection[int], *, where: Path | str, known: Collection[str] = ()
) -> None:
    """Raises DataError unless `answers` holds every question once and no other, and only `known` answers, if any.

    where: what messages name, the results file for instance.
    """
    asked = set(question_ids)
    for problem, found in (("have no answer", asked - set(answers)), ("are not asked", set(answers) - asked)):
        if found:
            raise DataError(
                f"{where}: {len(found)} questions {problem}, first {min(found)}. "
                "A results file answers every question of the questions file exactly once"
            )
    strange = {number: answer for number, answer in answers.items() if answer not in known} if known else {}
    if strange:
        first = min(strange)
        raise DataError(
            f"{where}: {len(strange)} answers are none of the {len(known)} of the answer pool, "
            f"first {strange[first]!r} to question {first}"
        )


def _read_part(questions: Path, annotations: Path | None, namer: ImageNamer, seen: set[int]) -> list[QuestionRecord]:
    answered = None if annotations is None else _read_annotations(annotations)
    content = checks.record(read_json(questions), Place(questions))
    records = []
    for index, value in enumerate(checks.list_of(content, "questions", Place(questions))):
        place = Place(questions, "questions", index)
        fields = checks.record(value, place)
        number = checks.whole(fields, "question_id", place)
        if number in seen:
            place.fail("question_id", "an id of its own (another question has it)", number)
        seen.add(number)
        image = checks.whole(fields, "image_id", place)
        text = checks.text(fields, "question", place)
        if answered is None:
            records.append(QuestionRecord(number, namer(image), text))
            continue
        found = answered.pop(number, None)
        if found is None:
            place.fail("question_id", f"a question that {annotations} answers", number)
        if found.image != image:
            place.fail("image_id", f"the picture that {annotations} gives, {found.image}", image)
        records.append(
            QuestionRecord(
                number, namer(image), text, found.answers, found.question_type, found.answer_type, found.correct_answer
            )
        )
    if answered:
        raise DataError(f"{annotations}: question {min(answered)} is answered and not asked in {questions}")
    return records


def _read_annotations(path: Path) -> dict[int, _Annotation]:
    content = checks.record(read_json(path), Place(path))
    found: dict[int, _Annotation] = {}
    for index, value in enumerate(checks.list_of(content, "annotations", Place(path))):
        place = Place(path, "annotations", index)
        fields = checks.record(value, place)
        number = checks.whole(fields, "question_id", place)
        if number in found:
            place.fail("question_id", "a question that is not answered before", number)
        found[number] = _Annotation(
            checks.whole(fields, "image_id", place),
            _answers(fields, place),
            intern(checks.text(fields, "question_type", place)),
            intern(checks.text(fields, "answer_type", place)),
            intern(checks.text(fields, "multiple_choice_answer", place, blank=True)),
        )
    return found


def _answers(fields: Mapping[str, Any], place: Place) -> tuple[str, ...]:
    """The annotators' words. Their ids must differ: the official score tells annotators apart by them."""
    listed = checks.list_of(fields, "answers", place)
    if not listed:
        place.fail("answers", "at least one answer", listed)
    words = []
    for index, value in enumerate(listed):
        word = value.get("answer") if type(value) is dict else None
        if type(word) is not str or not word.isascii():  # only then is a message, or a closer look, needed
            inner = Place(place.path, f"{place.list_name}[{place.number}].answers", index)
            word = checks.text(checks.record(value, inner), "answer", inner, blank=True)
        words.append(intern(word))
    ids = [str(value["answer_id"]) for value in listed if "answer_id" in value]
    if ids and len(set(ids)) < len(listed):
        place.fail("answers", "an answer_id of its own for every answer", ids)
    return tuple(words)
