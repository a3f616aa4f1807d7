"""Scores of predictions files alone, by the official rules; no model is needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from vltool.datasets import flickr30k_entities, vqa_v2
from vltool.errors import DataError
from vltool.metrics.localization import BoxProtocol, PhraseRanking, grounding_table
from vltool.metrics.recall import retrieval_scores
from vltool.metrics.vqa_accuracy import VqaAccuracy, vqa_accuracy

DIGITS = 10  # the official evaluator shows 2; more digits cost nothing


def score_vqa(*, questions: Path, annotations: Path, results: Path) -> tuple[VqaAccuracy, list[int]]:
    """The official VQA accuracy of a results file, and the question ids in the order of `per_question`.

    results: [{"question_id": int, "answer": str}], every question exactly once. Raises DataError.
    """
    records = vqa_v2.read(files={"questions": questions, "annotations": annotations})
    answers = vqa_v2.read_results(results)
    asked = {record.question_id for record in records}
    for problem, found in (("have no answer", asked - set(answers)), ("are not asked", set(answers) - asked)):
        if found:
            raise DataError(
                f"{results}: {len(found)} questions {problem}, first {min(found)}. "
                "A results file answers every question of the questions file exactly once"
            )
    accuracy = vqa_accuracy(
        [answers[record.question_id] for record in records],
        [record.answers for record in records],
        question_types=[record.question_type for record in records],
        answer_types=[record.answer_type for record in records],
        digits=DIGITS,
    )
    return accuracy, [record.question_id for record in records]


def score_retrieval(
    scores: Path, *, captions_per_image: int | None = None, gold: Path | None = None, folds: int = 1
) -> dict[str, Any]:
    """Recall@K both ways of a score matrix in .npy (rows images, columns captions). Raises DataError.

    gold: {"caption_image": [row of each caption]}; else the captions stand image by image, `captions_per_image` each.
    """
    try:
        matrix = np.load(scores, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise DataError(f"{scores}: no such file") from None
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{scores}: not a matrix of numbers in .npy, as numpy.save writes it") from error
    if not isinstance(matrix, np.ndarray):
        raise DataError(f"{scores}: an archive; expected one matrix in .npy, as numpy.save writes it")
    if matrix.ndim != 2 or matrix.dtype.kind not in "fiu":
        raise DataError(f"{scores}: expected numbers (images, captions), found {matrix.dtype} of shape {matrix.shape}")
    if gold is not None:
        rows = _gold_rows(gold)
    else:
        each = captions_per_image or 5
        if matrix.shape[1] != each * matrix.shape[0]:
            raise DataError(
                f"{scores}: {matrix.shape[0]} images and {matrix.shape[1]} captions are not {each} captions an image. "
                "Give --captions-per-image or --gold"
            )
        rows = np.repeat(np.arange(matrix.shape[0]), each)
    if len(rows) != matrix.shape[1]:
        raise DataError(f"{gold}: {len(rows)} captions, the matrix has {matrix.shape[1]} columns")
    return retrieval_scores(matrix, rows, folds=folds)


def score_grounding(predictions: Path, *, entities: Path, protocol: BoxProtocol = "any") -> dict[str, Any]:
    """Recall@K of ranked boxes for the phrases of the pictures that the file mentions. Raises DataError.

    predictions: [{"image_id", "sentence", "phrase", "boxes": [[x1, y1, x2, y2], …ranked]}]. entities: a folder with
    Annotations and Sentences. A phrase with boxes but without a prediction counts as not found (`unanswered`).
    """
    ranked = _read_rankings(predictions)
    files = {"annotations": entities / "Annotations", "sentences": entities / "Sentences"}
    wanted = {image for image, _, _ in ranked}
    captions = [c for c in flickr30k_entities.read(files=files) if _stem(c.image_id) in wanted]
    known = {
        (_stem(caption.image_id), caption.sentence_index, number): phrase
        for caption in captions
        for number, phrase in enumerate(caption.phrases)
    }
    for key in ranked:
        if key not in known:
            raise DataError(f"{predictions}: image {key[0]}, sentence {key[1]} has no phrase {key[2]} in {entities}")
    asked = {key: phrase for key, phrase in known.items() if phrase.boxes}
    table = grounding_table(
        [PhraseRanking(ranked.get(key, []), phrase.boxes, phrase.types) for key, phrase in asked.items()],
        protocol=protocol,
    )
    return {**table, "protocol": protocol, "unanswered": len(asked) - len(set(ranked) & set(asked))}


def _gold_rows(path: Path) -> np.ndarray:
    content = _read_json(path)
    rows = content.get("caption_image") if isinstance(content, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, int) and not isinstance(row, bool) for row in rows):
        raise DataError(f'{path}: expected {{"caption_image": [row of each caption, …]}}')
    return np.array(rows, np.int64)


def _read_rankings(path: Path) -> dict[tuple[str, int, int], list[list[float]]]:
    content = _read_json(path)
    if not isinstance(content, list):
        raise DataError(f'{path}: expected a list of {{"image_id", "sentence", "phrase", "boxes"}}')
    found: dict[tuple[str, int, int], list[list[float]]] = {}
    for index, record in enumerate(content):
        try:
            key = (_stem(str(record["image_id"])), int(record["sentence"]), int(record["phrase"]))
            boxes = record["boxes"]
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}: record {index} lacks a usable image_id, sentence, phrase or boxes") from error
        if key in found:
            raise DataError(f"{path}: record {index} answers image {key[0]}, sentence {key[1]}, phrase {key[2]} again")
        found[key] = boxes
    return found


def _stem(image_id: str) -> str:
    return image_id.rsplit(":", 1)[-1].removesuffix(".jpg")


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not JSON: {error}") from error
