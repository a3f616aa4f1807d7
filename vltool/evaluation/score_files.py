"""Scores of predictions files alone, by the official rules; no model is needed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vltool.datasets import checks, flickr30k_entities, vqa_v2
from vltool.datasets.checks import Place
from vltool.datasets.image_ids import stem_of
from vltool.datasets.sources import read_json
from vltool.errors import DataError
from vltool.metrics.item_scores import ItemScores
from vltool.metrics.localization import BoxProtocol, PhraseRanking, as_boxes, grounding_items, grounding_table
from vltool.metrics.recall import Ties, nested, retrieval_items
from vltool.metrics.vqa_accuracy import accuracy_items, vqa_accuracy

DIGITS = 10  # the official evaluator shows 2; more digits cost nothing
CAPTIONS_PER_IMAGE = 5


class FileScores(NamedTuple):
    """What a file reaches, as `vltool score --json` prints it, and the items that it is made of."""

    scores: dict[str, Any]
    items: ItemScores


def score_vqa(*, questions: Path, annotations: Path, results: Path) -> FileScores:
    """The official VQA accuracy of a results file: overall, per_question_type, per_answer_type. Raises DataError.

    results: [{"question_id": int, "answer": str}], every question exactly once.
    """
    records = vqa_v2.read(files={"questions": questions, "annotations": annotations})
    answers = vqa_v2.read_results(results)
    vqa_v2.check_results(answers, [record.question_id for record in records], where=results)
    question_types = [record.question_type for record in records]
    answer_types = [record.answer_type for record in records]
    found = vqa_accuracy(
        [answers[record.question_id] for record in records],
        [record.answers for record in records],
        question_types=question_types,
        answer_types=answer_types,
        digits=DIGITS,
    )
    items = accuracy_items(
        found.shares,
        [record.question_id for record in records],
        types={"per_question_type.": question_types, "per_answer_type.": answer_types},
        name="overall",
    )
    scores = {
        "overall": found.overall,
        "per_question_type": found.per_question_type,
        "per_answer_type": found.per_answer_type,
    }
    return FileScores(scores, items)


def per_question(items: ItemScores) -> dict[str, float]:
    """Question id → its accuracy in percent."""
    return {
        number: round(value, DIGITS)
        for number, value in zip(items.unit_ids, items.parts["all"].values.tolist(), strict=True)
    }


def score_retrieval(
    scores: Path,
    *,
    captions_per_image: int | None = None,
    gold: Path | None = None,
    folds: int = 1,
    ties: Ties = "against",
) -> FileScores:
    """Recall@K both ways of a score matrix in .npy (rows images, columns captions). Raises DataError.

    gold: {"caption_image": [row of each caption]}; else the captions stand image by image, `captions_per_image` each.
    """
    matrix = _read_matrix(scores)
    if gold is not None and captions_per_image is not None:
        raise DataError(f"{gold}: it says whose captions are whose; leave --captions-per-image out")
    if gold is not None:
        rows = _gold_rows(gold, num_images=len(matrix))
    else:
        each = captions_per_image or CAPTIONS_PER_IMAGE
        if matrix.shape[1] != each * matrix.shape[0]:
            raise DataError(
                f"{scores}: {matrix.shape[0]} images and {matrix.shape[1]} captions are not {each} captions an image. "
                "Give --captions-per-image or --gold"
            )
        rows = np.repeat(np.arange(matrix.shape[0]), each)
    if len(rows) != matrix.shape[1]:
        raise DataError(f"{gold}: {len(rows)} captions, but {scores} has {matrix.shape[1]} columns")
    try:
        items = retrieval_items(matrix, rows, folds=folds, ties=ties)
    except DataError as error:
        raise DataError(f"{gold or scores}: {error}" if "caption" in str(error) else f"{scores}: {error}") from None
    facts = {"ties": ties, "folds": folds, "images": matrix.shape[0], "captions": matrix.shape[1]}
    return FileScores({**nested(items.scores()), **facts}, items)


def _read_matrix(path: Path) -> np.ndarray:
    try:
        matrix = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except Exception as error:  # a damaged header is parsed as Python, and fails in any way that Python can
        raise DataError(f"{path}: not a matrix of numbers in .npy, as numpy.save writes it") from error
    if not isinstance(matrix, np.ndarray):
        raise DataError(f"{path}: an archive; expected one matrix in .npy, as numpy.save writes it")
    if matrix.ndim != 2 or matrix.dtype.kind not in "fiu":
        raise DataError(f"{path}: expected numbers (images, captions), found {matrix.dtype} of shape {matrix.shape}")
    if not matrix.size:
        raise DataError(f"{path}: expected scores of at least one image and caption, found shape {matrix.shape}")
    return matrix


def _gold_rows(path: Path, *, num_images: int) -> np.ndarray:
    content = checks.record(read_json(path), Place(path))
    rows = checks.list_of(content, "caption_image", Place(path))
    for number, row in enumerate(rows):
        if type(row) is not int or not 0 <= row < num_images:
            raise DataError(
                f"{path}: caption_image[{number}]: expected the row of an image, 0 to {num_images - 1}, "
                f"found {checks.shown(row)}"
            )
    return np.array(rows, np.int64)


def score_grounding(
    predictions: Path,
    *,
    entities: Path,
    ids: Path | None = None,
    protocol: BoxProtocol = "any",
    unrelated: Path | None = None,
) -> FileScores:
    """Recall@K of ranked boxes for the phrases of the listed pictures, else of those that the file mentions.

    Raises DataError, also for a prediction about a picture that the list has not.

    predictions: [{"image_id", "sentence", "phrase", "boxes": [[x1, y1, x2, y2], …ranked]}]. entities: a folder or
    archive with Annotations and Sentences. ids: a list of pictures. A phrase with boxes but without a prediction counts
    as not found (`unanswered`). unrelated: the dataset's list of captions that do not belong to their picture; they are
    not asked.
    """
    ranked = _read_rankings(predictions)
    files = {"annotations": entities / "Annotations", "sentences": entities / "Sentences"}
    if unrelated is not None:
        files["unrelated"] = unrelated
    if ids is not None:
        files["ids"] = ids
    mentioned = {image for image, _, _ in ranked}
    captions = flickr30k_entities.read(files=files, only=mentioned if ids is None else None)
    images = {caption.image_id.partition(":")[2] for caption in captions}
    known = {
        (caption.image_id.partition(":")[2], caption.sentence_index, number): (caption, phrase)
        for caption in captions
        for number, phrase in enumerate(caption.phrases)
    }
    for key in ranked:
        if key[0] not in images:
            lacking = f"{entities / 'Annotations'} has no {key[0]}.xml" if ids is None else f"{ids} does not list it"
            raise DataError(f"{predictions}: image {key[0]} is answered, but {lacking}. Give the files of one split")
        if key not in known:
            raise DataError(f"{predictions}: image {key[0]}, sentence {key[1]} has no phrase {key[2]} in {entities}")
    asked = {key: phrase for key, (caption, phrase) in known.items() if phrase.boxes and not caption.is_unrelated}
    if not asked:
        raise DataError(f"{predictions}: none of its {len(ranked)} phrases has annotated boxes in {entities}")
    items = grounding_items(
        [PhraseRanking(ranked.get(key, ()), phrase.boxes, phrase.types, key[0]) for key, phrase in asked.items()],
        protocol=protocol,
    )
    unanswered = len(asked) - len(set(ranked) & set(asked))
    facts = {"protocol": protocol, "images": len({image for image, _, _ in asked}), "unanswered": unanswered}
    return FileScores({**grounding_table(items), **facts}, items)


def _read_rankings(path: Path) -> dict[tuple[str, int, int], np.ndarray]:
    content = read_json(path)
    if not isinstance(content, list) or not content:
        form = '{"image_id", "sentence", "phrase", "boxes"}'
        raise DataError(f"{path}: expected a list of {form}, found {checks.shown(content)}")
    found: dict[tuple[str, int, int], np.ndarray] = {}
    for index, value in enumerate(content):
        place = Place(path, "predictions", index)
        fields = checks.record(value, place)
        image = _image_name(fields, place)
        key = (image, checks.whole(fields, "sentence", place), checks.whole(fields, "phrase", place))
        if key in found:
            raise DataError(f"{place}: answers image {key[0]}, sentence {key[1]}, phrase {key[2]} again")
        listed = checks.list_of(fields, "boxes", place)
        found[key] = as_boxes([checks.box_xyxy(box, f"boxes[{row}]", place) for row, box in enumerate(listed)])
    return found


def _image_name(fields: Mapping[str, Any], place: Place) -> str:
    """The picture's name without source, folder and suffix: 17 of "world:17", 17 and "17.jpg"."""
    if type(fields.get("image_id")) is int:
        return str(checks.whole(fields, "image_id", place))
    return stem_of(checks.text(fields, "image_id", place).rpartition(":")[2])
