"""Scores of predictions files of 12-in-1's datasets, in the layouts in which they are submitted; no model is needed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from vltool.datasets import checks, gqa, guesswhat, nlvr2, referring, snli_ve, visual7w, visual_genome_qa
from vltool.datasets.checks import Place
from vltool.datasets.records import GqaQuestion, PointingRecord
from vltool.datasets.sources import read_json
from vltool.errors import DataError
from vltool.evaluation.score_files import FileScores
from vltool.features.header import region_source
from vltool.features.store import RegionStore
from vltool.metrics.answering import exact_items, label_items
from vltool.metrics.gqa import distribution, gqa_items
from vltool.metrics.localization import as_boxes
from vltool.metrics.nlvr2 import nlvr2_items
from vltool.metrics.pointing import ABOVE_IOU, Pointed, finds, pointing_items

Answer = TypeVar("Answer")
UNKNOWN_SOURCE = "not said (--store)"
SAME_BOX_PX = 0.5
"""A predicted box is a region whose sides lie so near; files round."""


def score_gqa(predictions: Path, *, questions: Path, choices: Path | None = None) -> FileScores:
    """The official scores of [{"questionId", "prediction"}]; flat, accuracy by type as accuracy/structural/query.

    predictions: of every balanced question of the file or folder `questions` at least; with all questions there is
    consistency too, with `choices` validity and plausibility. Raises DataError.
    """
    files = {"questions": questions, **({"choices": choices} if choices else {})}
    records = [record for record in gqa.read(files=files) if record.answer]
    if not records:
        raise DataError(f"{questions}: its questions have no answers: nothing to score with")
    found = gqa.read_predictions(predictions)
    _check_gqa(found, records, predictions, questions)
    try:
        items = gqa_items(records, found)
    except DataError as error:
        raise DataError(f"{questions}: {error}. Name the balanced or all questions of the split") from None
    spread = distribution(records, found)
    scores = items.scores() if spread is None else {**items.scores(), "distribution": spread}
    return FileScores(scores, items)


def _check_gqa(found: Collection[str], records: Sequence[GqaQuestion], predictions: Path, questions: Path) -> None:
    """Raises DataError for predictions of other questions than those asked, or without some of the balanced ones."""
    asked = {record.question_id for record in records}
    strange = sorted(set(found) - asked)
    if strange:
        raise DataError(
            f"{predictions}: {len(strange):,} of its {len(found):,} questions are not asked in {questions}, "
            f"{_few(strange)}. Give --questions the file that was predicted: `eval` answers all questions of its "
            "sources, so of a split's all_questions file where these name that one, not of its balanced_questions"
        )
    balanced = [record.question_id for record in records if record.is_balanced]
    missing = sorted(set(balanced) - set(found))
    if missing:
        raise DataError(
            f"{predictions}: {len(missing):,} of the {len(balanced):,} balanced questions of {questions} have no "
            f"prediction, {_few(missing)}. Give --questions the file that was predicted, or predict these too"
        )


def _few(names: Sequence[str]) -> str:
    """The first of some names."""
    return f"first {', '.join(names[:3])}"


def score_nlvr2(predictions: Path, *, statements: Path) -> FileScores:
    """Accuracy and consistency of identifier,prediction lines, every statement once. Raises DataError."""
    records = nlvr2.read(files={"statements": statements})
    bare = [record.identifier for record in records if record.is_true is None]
    if bare:
        raise DataError(f"{statements}: {len(bare)} statements have no label, first {bare[0]}: nothing to score with")
    found = nlvr2.read_predictions(predictions)
    _check_all(found, [record.identifier for record in records], predictions, statements)
    right = [found[record.identifier] == record.is_true for record in records]
    items = nlvr2_items(right, [record.sentence_id for record in records])
    return FileScores(items.scores(), items)


def score_referring(
    predictions: Path, *, refs: Path, instances: Path, split: str, store: Path | None = None
) -> FileScores:
    """Share of expressions whose box has IoU > 0.5 with the annotated one, of [{"id", "box": [x1, y1, x2, y2]}].

    id: reference and sentence, as in 0-2. Every expression of the split once. store: features of the regions that were
    the candidates; then `upper_bound` is the share of expressions that one of them finds, and every predicted box must
    be one of them. Raises DataError or StoreError.
    """
    records = referring.read(files={"refs": refs, "instances": instances}, split=split)
    boxes = _answers(
        predictions,
        "id",
        lambda fields, place: as_boxes([checks.box_xyxy(fields.get("box", checks.MISSING), "box", place)]),
    )
    _check_all(boxes, [record.record_id for record in records], predictions, refs)
    source, candidates = (UNKNOWN_SOURCE, {}) if store is None else _candidates(store, records)
    pointed = []
    for record in records:
        box, gold = boxes[record.record_id], record.boxes[record.answer]
        own = candidates.get(record.image_id)
        if own is not None and not (np.abs(own - box).max(axis=1) <= SAME_BOX_PX).any():
            raise DataError(
                f"{predictions}: the box of {record.record_id}, {box[0].tolist()}, is none of the {len(own)} regions "
                f"of {record.image_id} in {store}. Name the store of the regions that were chosen from"
            )
        is_right = bool(finds(box, gold)[0])
        is_possible = is_right if own is None else bool(finds(own, gold).any())
        pointed.append(Pointed(is_right, is_possible, record.image_id, record.kind))
    items = pointing_items(pointed, upper_bound=store is not None)
    facts = {"expressions": len(records), "iou": f"> {ABOVE_IOU}", "regions": source}
    return FileScores({**items.scores(), **facts}, items)


def _candidates(path: Path, records: Sequence[PointingRecord]) -> tuple[str, dict[str, np.ndarray]]:
    """Whose regions a store holds, and those of each record's picture: (R, 4), in the frame of the annotations."""
    found: dict[str, np.ndarray] = {}
    with RegionStore.open(path) as store:
        for record in records:
            if record.image_id in found:
                continue
            if record.image_id not in store:
                raise DataError(f"{path}: no features for image {record.image_id!r}, which {record.record_id} is about")
            regions = store.get(record.image_id)
            width, height = record.width or regions.width, record.height or regions.height  # 0: as the store's
            scale = [width / regions.width, height / regions.height]
            found[record.image_id] = regions.boxes * np.array([*scale, *scale])
        return region_source(store.header), found


def score_visual7w(predictions: Path, *, dataset: Path, split: str) -> FileScores:
    """Accuracy of [{"qa_id", "candidates": [{"answer": box id}]}], as Visual7W's toolkit has it. Raises DataError.

    Only the first of the candidates counts. Every question of the split once.
    """
    records = visual7w.read(files={"dataset": dataset}, split=split)

    def first_box(fields: Mapping[str, Any], place: Place) -> int:
        candidates = checks.list_of(fields, "candidates", place)
        if not candidates:
            place.fail("candidates", f'at least one {{"answer": box id}} for question {fields["qa_id"]}', candidates)
        first = Place(predictions, f"{place}.candidates".removeprefix(f"{predictions}: "), 0)
        return checks.whole(checks.record(candidates[0], first), "answer", first)

    chosen = _answers(predictions, "qa_id", first_box)
    _check_all(chosen, [record.record_id for record in records], predictions, dataset)
    pointed = []
    for record in records:
        is_right = chosen[record.record_id] == record.box_ids[record.answer]
        pointed.append(Pointed(is_right, True, record.image_id))
    items = pointing_items(pointed)
    return FileScores({**items.scores(), "questions": len(records), "regions": "given"}, items)


def score_guesswhat(predictions: Path, *, games: Path, only: Literal["all", "success"] = "all") -> FileScores:
    """Share of games whose object is the right one, of [{"dialogue_id", "object_id"}]; by how the game ended.

    only: every game with a question, or those that the players won; each of them once. Raises DataError.
    """
    records = [record for record in guesswhat.read(files={"games": games}) if record.text]
    records = [record for record in records if only in ("all", record.kind)]
    chosen = _answers(predictions, "dialogue_id", lambda fields, place: checks.whole(fields, "object_id", place))
    _check_all(chosen, [record.record_id for record in records], predictions, games)
    pointed = [
        Pointed(chosen[record.record_id] == record.box_ids[record.answer], True, record.image_id, record.kind)
        for record in records
    ]
    items = pointing_items(pointed)
    return FileScores({**items.scores(), "games": len(records), "regions": "given"}, items)


def score_snli_ve(predictions: Path, *, pairs: Path) -> FileScores:
    """Accuracy, also of each label, of [{"pairID", "prediction"}], every pair with a gold label once.

    Raises DataError.
    """
    records = [record for record in snli_ve.read(files={"pairs": pairs}) if record.label]

    def label(fields: Mapping[str, Any], place: Place) -> str:
        found = checks.text(fields, "prediction", place)
        if found not in snli_ve.LABELS:
            place.fail("prediction", f"one of {', '.join(snli_ve.LABELS)}", found)
        return found

    found = _answers(predictions, "pairID", label)
    _check_all(found, [record.pair_id for record in records], predictions, pairs)
    items = label_items(
        [found[record.pair_id] for record in records],
        [record.label for record in records],
        [record.image_id for record in records],
    )
    return FileScores({**items.scores(), "pairs": len(records)}, items)


def score_visual_genome_qa(
    predictions: Path, *, questions: Path, images: Path | None = None, ids: Path | None = None
) -> FileScores:
    """Share of answers that are the given one after VQA's normalisation, also by a question's first word.

    predictions: [{"question_id", "answer"}], every question once; with `ids` those about the pictures listed there,
    named as `images` (image_data.json) has it. Raises DataError.
    """
    files = {"questions": questions, **({"images": images} if images else {}), **({"ids": ids} if ids else {})}
    records = visual_genome_qa.read(files=files)
    found = _answers(predictions, "question_id", lambda fields, place: checks.text(fields, "answer", place))
    names = [str(record.question_id) for record in records]
    _check_all(found, names, predictions, questions)
    items = exact_items(
        [found[name] for name in names],
        [record.answers[0] for record in records],
        names,
        [record.question_type for record in records],
    )
    return FileScores({**items.scores(), "questions": len(records)}, items)


def _answers(path: Path, name: str, read: Callable[[Mapping[str, Any], Place], Answer]) -> dict[str, Answer]:
    """What `read` finds in each prediction, by its `name`: a number or a text, each once."""
    found: dict[str, Answer] = {}
    for place, fields in _listed(path):
        given = fields.get(name, checks.MISSING)
        if type(given) not in (str, int):
            place.fail(name, "a text or a whole number", given)
        number = checks.text(fields, name, place) if isinstance(given, str) else str(checks.whole(fields, name, place))
        if number in found:
            place.fail(name, "one that is not answered before", number)
        found[number] = read(fields, place)
    return found


def _listed(path: Path) -> list[tuple[Place, Mapping[str, Any]]]:
    content = read_json(path)
    if not isinstance(content, list) or not content:
        found = "an empty list" if isinstance(content, list) else checks.shown(content)
        raise DataError(f"{path}: expected a list of predictions, found {found}")
    places = (Place(path, "predictions", index) for index in range(len(content)))
    return [(place, checks.record(value, place)) for place, value in zip(places, content, strict=True)]


def _check_all(found: Collection[str], asked: Collection[str], path: Path, source: Path) -> None:
    """Raises DataError unless just what is asked in `source` is predicted in the file at `path`."""
    wanted, given = set(asked), set(found)
    same = "Name the file that was predicted, with the options that choose the same of it"
    if not wanted:
        raise DataError(f"{source}: nothing in it is asked, so there is nothing to score with. {same}")
    for problem, wrong, advice in (
        (f"of {source} have no prediction", wanted - given, f"{same}, or predict these too"),
        (f"are not asked in {source}", given - wanted, same),
    ):
        if wrong:
            raise DataError(f"{path}: {len(wrong)} items {problem}, first {min(wrong)}. {advice}")
