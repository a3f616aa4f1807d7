"""Scores of files: their numbers, and what a broken file is answered with: its name, record and field."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vltool.errors import DataError
from vltool.evaluation.score_files import per_question, score_grounding, score_retrieval, score_vqa

BOX = [1, 1, 10, 10]
XML = """<annotation><size><width>50</width><height>40</height><depth>3</depth></size>
<object><name>1</name><bndbox><xmin>2</xmin><ymin>2</ymin><xmax>11</xmax><ymax>11</ymax></bndbox></object></annotation>
"""


@pytest.fixture
def entities(tmp_path: Path) -> Path:
    """Two pictures, each with one sentence of one phrase with a box and one without."""
    for name in ("7", "8"):
        for folder, content in (
            ("Annotations", XML),
            ("Sentences", "[/EN#1/people A dog] and [/EN#2/other it] run .\n"),
        ):
            path = tmp_path / folder / (name + (".xml" if folder == "Annotations" else ".txt"))
            path.parent.mkdir(exist_ok=True)
            path.write_text(content)
    return tmp_path


def prediction(**changes: Any) -> dict[str, Any]:
    return {"image_id": "flickr30k:7", "sentence": 0, "phrase": 0, "boxes": [[20, 20, 30, 30], BOX], **changes}


def written(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_grounding_scores_the_phrases_of_the_pictures_that_are_mentioned(entities: Path) -> None:
    both = [prediction(), prediction(image_id="8.jpg", boxes=[BOX])]
    found = score_grounding(written(entities / "p.json", both), entities=entities, protocol="merged").scores
    assert (found["recall@1"], found["recall@5"], found["phrases"], found["protocol"]) == (50.0, 100.0, 2, "merged")
    assert found["unanswered"] == 0 and found["per_type"]["people"]["phrases"] == 2
    one = score_grounding(written(entities / "p.json", both[:1]), entities=entities)
    assert one.scores["phrases"] == 1 and one.items.unit_ids == ("7",)
    unasked = score_grounding(written(entities / "p.json", [prediction(phrase=1, boxes=[])]), entities=entities).scores
    assert unasked["unanswered"] == 1 and unasked["recall@10"] == 0.0


def test_a_listed_picture_without_predictions_is_not_found(entities: Path) -> None:
    listed = written(entities / "test.txt", "7\n8\n")
    first = written(entities / "p.json", [prediction(boxes=[BOX])])
    found = score_grounding(first, entities=entities, ids=listed).scores
    assert (found["recall@1"], found["phrases"], found["images"], found["unanswered"]) == (50.0, 2, 2, 1)
    assert score_grounding(first, entities=entities).scores["images"] == 1
    with pytest.raises(DataError, match=r"image 7 is answered, but .*other.txt does not list it\. Give"):
        score_grounding(first, entities=entities, ids=written(entities / "other.txt", "8\n"))


def test_unrelated_captions_are_not_asked(entities: Path) -> None:
    listed = written(entities / "UNRELATED_CAPTIONS", "8 1\n")
    both = written(entities / "p.json", [prediction(), prediction(image_id="8")])
    assert score_grounding(both, entities=entities, unrelated=listed).scores["phrases"] == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "p.json: not JSON"),
        ("[" * 100_000, "p.json: not usable JSON: nested too deeply"),
        ({}, "p.json: expected a list of"),
        ([], 'p.json: expected a list of {"image_id", "sentence", "phrase", "boxes"}, found []'),
        ([7], "p.json: predictions[0]: expected an object of fields, found 7"),
        ([prediction(image_id=None)], "p.json: predictions[0].image_id: expected text"),
        ([prediction(image_id=-7)], "p.json: predictions[0].image_id: expected a whole number"),
        ([prediction(), prediction(phrase="1")], "p.json: predictions[1].phrase: expected a whole number"),
        ([prediction(sentence=True)], "p.json: predictions[0].sentence: expected a whole number"),
        ([prediction(boxes=4)], "p.json: predictions[0].boxes: expected a list"),
        ([prediction(boxes=[[1, 2, 3]])], "p.json: predictions[0].boxes[0]: expected four finite numbers"),
        ([prediction(boxes=[BOX, [1, 2, 3]])], "p.json: predictions[0].boxes[1]: expected four finite numbers"),
        (
            [prediction(boxes=[BOX, ["1", 2, 3, 4]])],
            "predictions[0].boxes[1]: expected four finite numbers [x1, y1, x2",
        ),
        ([prediction(boxes=[[False, 2, 3, 4]])], "predictions[0].boxes[0]: expected four finite numbers"),
        ([prediction(boxes=[[9, 9, 1, 1]])], "p.json: predictions[0].boxes[0]: expected four finite numbers"),
        ([prediction(boxes=[[10**400, 1, 2, 3]])], "p.json: predictions[0].boxes[0]: expected four finite numbers"),
        ([prediction(), prediction()], "p.json: predictions[1]: answers image 7, sentence 0, phrase 0 again"),
        ([prediction(image_id="9")], "p.json: image 9 is answered, but"),
        ([prediction(phrase=5)], "p.json: image 7, sentence 0 has no phrase 5"),
    ],
)
def test_broken_rankings_name_record_and_field(entities: Path, content: Any, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        score_grounding(written(entities / "p.json", content), entities=entities)


def test_a_matrix_gives_its_recalls(tmp_path: Path) -> None:
    np.save(tmp_path / "s.npy", np.eye(3, dtype=np.float16))
    gold = written(tmp_path / "g.json", {"caption_image": [0, 1, 2], "images": ["a", "b", "c"]})
    found = score_retrieval(tmp_path / "s.npy", gold=gold).scores
    assert found["rsum"] == 600.0 and found["ties"] == "against" and found["images"] == 3
    assert score_retrieval(tmp_path / "s.npy", captions_per_image=1, folds=3).scores["folds"] == 3


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (b"", "s.npy: not a matrix of numbers"),
        (b"\x93NUMPY\x01\x00", "s.npy: not a matrix of numbers"),
        (b"\x93NUMPY\x01\x00\x10\x00{'descr': '<f4'  ", "s.npy: not a matrix of numbers"),
        (np.array([[object()]]), "s.npy: not a matrix of numbers"),
        (np.zeros(3), "s.npy: expected numbers (images, captions), found float64 of shape (3,)"),
        (np.zeros((2, 2), bool), "s.npy: expected numbers (images, captions), found bool"),
        (np.zeros((0, 5)), "s.npy: "),
        (np.zeros((2, 9)), "s.npy: 2 images and 9 captions are not 5 captions an image"),
        (np.full((1, 5), np.nan), "s.npy: scores: row 0, column 0 is not a number"),
    ],
)
def test_broken_matrices_are_named(tmp_path: Path, matrix: Any, message: str) -> None:
    path = tmp_path / "s.npy"
    if isinstance(matrix, bytes):
        path.write_bytes(matrix)
    else:
        np.save(path, matrix)
    with pytest.raises(DataError, match=re.escape(message)):
        score_retrieval(path)


def test_a_truncated_matrix_and_an_archive_are_named(tmp_path: Path) -> None:
    np.save(tmp_path / "s.npy", np.zeros((4, 20)))
    (tmp_path / "s.npy").write_bytes((tmp_path / "s.npy").read_bytes()[:-8])
    with pytest.raises(DataError, match="not a matrix"):
        score_retrieval(tmp_path / "s.npy")
    np.savez(tmp_path / "s.npz", a=np.zeros(3))
    with pytest.raises(DataError, match=r"s.npz: an archive"):
        score_retrieval(tmp_path / "s.npz")
    with pytest.raises(DataError, match=r"no.npy: no such file"):
        score_retrieval(tmp_path / "no.npy")


@pytest.mark.parametrize(
    ("gold", "message"),
    [
        ([], "g.json: expected an object of fields"),
        ({"caption_image": 3}, "g.json: caption_image: expected a list"),
        ({"caption_image": [0, "1"]}, "g.json: caption_image[1]: expected the row of an image, 0 to 1, found '1'"),
        ({"caption_image": [0, True]}, "g.json: caption_image[1]: expected the row of an image"),
        ({"caption_image": [0, 10**40]}, "g.json: caption_image[1]: expected the row of an image"),
        ({"caption_image": [-1, 0]}, "g.json: caption_image[0]: expected the row of an image"),
        ({"caption_image": [0, 1, 1]}, "g.json: 3 captions, but"),
        ({"caption_image": []}, "g.json: 0 captions, but"),
        ({"caption_image": [0, 0]}, "g.json: 1 of 2 pictures have no caption, first row 1"),
    ],
)
def test_broken_gold_is_named(tmp_path: Path, gold: Any, message: str) -> None:
    np.save(tmp_path / "s.npy", np.zeros((2, 2)))
    with pytest.raises(DataError, match=re.escape(message)):
        score_retrieval(tmp_path / "s.npy", gold=written(tmp_path / "g.json", gold))


def test_whose_captions_are_whose_is_said_once(tmp_path: Path) -> None:
    np.save(tmp_path / "s.npy", np.zeros((2, 2)))
    gold = written(tmp_path / "g.json", {"caption_image": [0, 1]})
    with pytest.raises(DataError, match="leave --captions-per-image out"):
        score_retrieval(tmp_path / "s.npy", gold=gold, captions_per_image=1)


def vqa_files(folder: Path, results: Any) -> dict[str, Path]:
    questions = [{"image_id": 1, "question": "Is it?", "question_id": k} for k in (1, 2)]
    annotations = [
        {
            "question_id": k,
            "image_id": 1,
            "question_type": "is it",
            "answer_type": "is it",  # the same word as the question type: two tables all the same
            "multiple_choice_answer": "yes",
            "answers": [{"answer": "yes", "answer_id": n} for n in range(10)],
        }
        for k in (1, 2)
    ]
    return {
        "questions": written(folder / "q.json", {"questions": questions}),
        "annotations": written(folder / "a.json", {"annotations": annotations}),
        "results": written(folder / "r.json", results),
    }


def test_vqa_results_are_scored_question_by_question(tmp_path: Path) -> None:
    results = [{"question_id": 2, "answer": "yes"}, {"question_id": 1, "answer": "no"}]
    found = score_vqa(**vqa_files(tmp_path, results))
    table = {"is it": 50.0}
    assert found.scores == {"overall": 50.0, "per_question_type": table, "per_answer_type": table}
    assert per_question(found.items) == {"1": 0.0, "2": 100.0}
    assert set(found.items.scores()) == {"overall", "per_question_type.is it", "per_answer_type.is it"}


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ([{"question_id": 1, "answer": "no"}], "r.json: 1 questions have no answer, first 2"),
        ([{"question_id": k, "answer": "no"} for k in (1, 2, 3)], "r.json: 1 questions are not asked, first 3"),
        ([{"question_id": 1, "answer": "no"}] * 2, "r.json: results[1].question_id: expected a question that is not"),
        ([{"question_id": 1, "answer": 7}], "r.json: results[0].answer: expected text, found 7"),
        ([{"question_id": "1", "answer": "no"}], "r.json: results[0].question_id: expected a whole number"),
        ({"results": []}, "r.json: expected a list"),
    ],
)
def test_broken_results_name_record_and_field(tmp_path: Path, results: Any, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        score_vqa(**vqa_files(tmp_path, results))
