"""GQA: questions made from scene graphs, and files of predicted answers.

    {"202218649": {"imageId": "n578564", "question": "What is hanging above the chalkboard?", "answer": "picture",
                   "isBalanced": true, "groups": {"global": "thing", "local": …}, "entailed": ["202218648"],
                   "types": {"detailed": "relS", "semantic": "rel", "structural": "query"},
                   "semantic": [{"operation": "select", "argument": "chalkboard (0)", "dependencies": []}, …], …}, …}
    choices:     {"202218649": {"valid": ["picture", …], "plausible": ["picture", …]}, …}
    predictions: [{"questionId": "202218649", "prediction": "picture"}, …]

Format: cs.stanford.edu/people/dorarad/gqa (Hudson and Manning 2019). Numbers of pictures are Visual Genome's; those
that begin with n are GQA's own. Questions of secret tests have a picture, a question and isBalanced alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from sys import intern
from typing import Any

from vltool.datasets import checks
from vltool.datasets.checks import Place
from vltool.datasets.image_ids import ImageNamer
from vltool.datasets.records import GqaQuestion
from vltool.datasets.sources import check_files, pick, read_json, require
from vltool.datasets.streams import object_members
from vltool.datasets.visual_genome import VisualGenomeNames
from vltool.errors import DataError
from vltool.structures import ImageId

_NO_STEPS = ("exist", "query: name", "choose name")  # the last step asks, it does not reason
_OWN_NAMES = ImageNamer("gqa:{stem}")


def read(*, files: Mapping[str, Path], split: str = "", image_id: str = "") -> list[GqaQuestion]:
    """Every question, balanced or not, in the order of the files.

    files: `questions`, a file or the folder of its parts (train_all_questions); optionally `images` (Visual Genome's
    image_data.json: which pictures are COCO's) and `choices`. Each may be named for a split: `val_questions`.
    image_id: of pictures with numbers, see VisualGenomeNames. Raises DataError, also for a question without choices
    where these are given.
    """
    check_files(files, split, known=("questions", "images", "choices"))
    names = VisualGenomeNames(files, split, image_id)
    choices_at = pick(files, "choices", split)
    choices = None if choices_at is None else _read_choices(choices_at)
    records = []
    seen: set[str] = set()
    for path in _parts(require(files, "questions", split)):
        for number, value in object_members(path, what="questions"):
            place = Place(path, "questions", number)
            if number in seen:
                raise DataError(f"{place}: asked in two parts of the questions")
            seen.add(number)
            record = _question(number, checks.record(value, place), place, names)
            if choices is not None:
                if number not in choices:
                    raise DataError(f"{place}: {choices_at} has no choices for it")
                record = replace(record, valid=choices[number][0], plausible=choices[number][1])
            records.append(record)
    return records


def read_predictions(path: Path | str) -> dict[str, str]:
    """Predicted answers by question, from a file as it is submitted. Raises DataError for a question answered twice."""
    content = read_json(path)
    if not isinstance(content, list):
        raise DataError(f'{path}: expected a list of {{"questionId": text, "prediction": text}}')
    found: dict[str, str] = {}
    for index, value in enumerate(content):
        place = Place(path, "predictions", index)
        fields = checks.record(value, place)
        number = checks.text(fields, "questionId", place)
        if number in found:
            place.fail("questionId", "a question that is not answered before", number)
        found[number] = checks.text(fields, "prediction", place, blank=True)
    return found


def _parts(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    parts = sorted(item for item in path.iterdir() if item.name.endswith((".json", ".json.gz")))
    if not parts:
        raise DataError(f"{path}: no .json file of questions in this folder")
    return parts


def _question(number: str, fields: Mapping[str, Any], place: Place, names: VisualGenomeNames) -> GqaQuestion:
    name = _image_name(checks.text(fields, "imageId", place), place, names)
    question = checks.text(fields, "question", place)
    is_balanced = fields.get("isBalanced", checks.MISSING)
    if type(is_balanced) is not bool:
        place.fail("isBalanced", "true or false", is_balanced)
    if "answer" not in fields:
        return GqaQuestion(number, name, question, is_balanced=is_balanced)
    types, groups = (_inner(fields, field, place) for field in ("types", "groups"))
    group = groups.get("global")
    structural, semantic, detailed = (
        intern(checks.text(types, kind, place)) for kind in ("structural", "semantic", "detailed")
    )
    return GqaQuestion(
        number,
        name,
        question,
        answer=intern(checks.text(fields, "answer", place)),
        is_balanced=is_balanced,
        structural=structural,
        semantic=semantic,
        detailed=detailed,
        group="" if group is None else intern(checks.text(groups, "global", place)),
        entailed=_texts(fields, "entailed", place),
        num_steps=sum(_is_step(step, place) for step in checks.list_of(fields, "semantic", place)),
    )


def _image_name(text: str, place: Place, names: VisualGenomeNames) -> ImageId:
    if text.isascii() and text.isdigit() and len(text) <= 18:
        return names(int(text), f"{place}.imageId")
    return _OWN_NAMES(text, f"{place}.imageId")


def _is_step(value: Any, place: Place) -> bool:
    step = checks.record(value, place)
    words = "{}: {}".format(*(checks.text(step, field, place, blank=True) for field in ("operation", "argument")))
    return not any(asked in words for asked in _NO_STEPS)


def _inner(fields: Mapping[str, Any], field: str, place: Place) -> Mapping[str, Any]:
    value = fields.get(field, checks.MISSING)
    if not isinstance(value, dict):
        place.fail(field, "an object of fields", value)
    return value


def _texts(fields: Mapping[str, Any], field: str, place: Place) -> tuple[str, ...]:
    return tuple(map(intern, checks.texts(fields, field, place)))


def _read_choices(path: Path) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    found = {}
    for number, value in object_members(path, what="choices"):
        place = Place(path, "choices", number)
        fields = checks.record(value, place)
        found[number] = _texts(fields, "valid", place), _texts(fields, "plausible", place)
    return found
