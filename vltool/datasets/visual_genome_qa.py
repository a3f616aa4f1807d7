"""Visual Genome's questions: `question_answers.json`, 1.7 million about 108,077 pictures, one answer each.

    [{"id": 1, "qas": [{"image_id": 1, "qa_id": 986768, "question": "What color is the clock?", "answer": "Green.",
                        "a_objects": [], "q_objects": []}, …]}, …]

Format: visualgenome.org/api, "Question answers". There is no official split: name pictures (`ids`), or a share of them
(`every`, `keep` of the source).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from sys import intern
from typing import Any

from vltool.datasets import checks
from vltool.datasets.checks import Place
from vltool.datasets.id_lists import read_image_ids
from vltool.datasets.records import QuestionRecord
from vltool.datasets.sources import check_files, pick, require
from vltool.datasets.streams import list_members
from vltool.datasets.visual_genome import VG_IMAGE_ID, VisualGenomeNames
from vltool.errors import DataError
from vltool.structures import ImageId


def read(*, files: Mapping[str, Path], split: str = "", image_id: str = "") -> list[QuestionRecord]:
    """Every question, in the order of the file; its type is its first word (what, where, when, who, why, how).

    files: `questions`; optionally `images` (image_data.json: which pictures are COCO's) and `ids`, a list of the
    pictures to read. image_id: see VisualGenomeNames. Raises DataError, also for a listed picture without questions.
    """
    check_files(files, split, known=("questions", "images", "ids"))
    path = require(files, "questions", split)
    names = VisualGenomeNames(files, split, image_id)
    ids_at = pick(files, "ids", split)
    wanted = None if ids_at is None else set(read_image_ids(ids_at, image_id=image_id or VG_IMAGE_ID))
    records: list[QuestionRecord] = []
    seen: set[int] = set()
    listed: set[ImageId] = set()
    for index, value in list_members(path, what="pictures"):
        place = Place(path, "images", index)
        fields = checks.record(value, place)
        picture = checks.whole(fields, "id", place)
        own_name = ImageId(VG_IMAGE_ID.replace("{number}", str(picture)))
        name = names(picture, place)
        if wanted is not None and not wanted & {name, own_name}:
            continue
        listed |= {name, own_name}
        for number, asked in enumerate(checks.list_of(fields, "qas", place)):
            inner = Place(path, f"images[{index}].qas", number)
            records.append(_question(checks.record(asked, inner), inner, picture, name, seen))
    missing = sorted((wanted or set()) - listed)
    if missing:
        raise DataError(f"{ids_at}: {len(missing)} of its pictures are not in {path}, first {missing[0]!r}")
    return records


def _question(fields: Mapping[str, Any], place: Place, picture: int, name: ImageId, seen: set[int]) -> QuestionRecord:
    number = checks.whole(fields, "qa_id", place)
    if number in seen:
        place.fail("qa_id", "an id of its own (another question has it)", number)
    seen.add(number)
    if checks.whole(fields, "image_id", place) != picture:
        place.fail("image_id", f"the picture that it stands under, {picture}", fields["image_id"])
    question = checks.text(fields, "question", place)
    answer = intern(checks.text(fields, "answer", place))
    kind = intern(question.split()[0].lower())
    return QuestionRecord(number, name, question, (answer,), question_type=kind, correct_answer=answer)
