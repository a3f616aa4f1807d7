"""VQA v2's questions, annotations and results."""

from __future__ import annotations

import copy
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from vltool.datasets import vqa_v2
from vltool.datasets.records import QuestionRecord
from vltool.errors import DataError

QUESTIONS: dict[str, Any] = {
    "questions": [
        {"image_id": 690, "question": "How many trees?", "question_id": 690003},
        {"image_id": 690, "question": "Is it day?", "question_id": 690004},
    ]
}
ANNOTATIONS: dict[str, Any] = {
    "annotations": [
        {
            "question_id": number,
            "image_id": 690,
            "question_type": kind,
            "answer_type": answer_type,
            "multiple_choice_answer": answer,
            "answers": [{"answer": answer, "answer_confidence": "yes", "answer_id": k} for k in range(1, 11)],
        }
        for number, kind, answer_type, answer in [
            (690004, "is it", "yes/no", "yes"),
            (690003, "how many", "number", "50"),
        ]
    ]
}


def written(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def files_of(folder: Path, questions: Any, annotations: Any) -> dict[str, Path]:
    return {
        "questions": written(folder / "questions.json", questions),
        "annotations": written(folder / "annotations.json", annotations),
    }


def test_questions_with_their_answers(tmp_path: Path) -> None:
    found = vqa_v2.read(files=files_of(tmp_path, QUESTIONS, ANNOTATIONS))
    assert found[0] == QuestionRecord(
        690003,
        "coco:690",
        "How many trees?",
        ("50",) * 10,
        "how many",
        "number",
        "50",  # type: ignore[arg-type]
    )
    assert [record.question_id for record in found] == [690003, 690004]


def test_test_questions_have_no_answers(tmp_path: Path) -> None:
    path = written(tmp_path / "questions.json", QUESTIONS)
    found = vqa_v2.read(files={"questions": path}, image_id="world:{number}")
    assert found[0].answers == () and found[0].image_id == "world:690"


def test_several_sets_at_once(tmp_path: Path) -> None:
    later = {"questions": [{"image_id": 7, "question": "Who?", "question_id": 1}]}
    with zipfile.ZipFile(tmp_path / "later.zip", "w") as archive:
        archive.writestr("later.json", json.dumps(later))
    files = {
        "train_questions": written(tmp_path / "questions.json", QUESTIONS),
        "val_questions": tmp_path / "later.zip",
    }
    assert len(vqa_v2.read(files=files, split="train")) == 2
    assert [record.question_id for record in vqa_v2.read(files=files, split="train+val")] == [690003, 690004, 1]
    with pytest.raises(DataError, match="for the splits train, val"):
        vqa_v2.read(files=files, split="test")
    files["val_questions"] = files["train_questions"]
    with pytest.raises(DataError, match="expected an id of its own"):
        vqa_v2.read(files=files, split="train+val")


@pytest.mark.parametrize(
    ("file", "place", "value", "message"),
    [
        ("q", ("questions", 1, "question_id"), 690003, r"questions\[1\]\.question_id: expected an id of its own"),
        ("q", ("questions", 1, "question_id"), 5, r"questions\[1\]\.question_id: expected a question that .* answers"),
        (
            "q",
            ("questions", 1, "image_id"),
            691,
            r"expected the picture that .*annotations\.json gives, 690, found 691",
        ),
        ("q", ("questions", 1, "question"), "", "expected text that is not blank"),
        ("q", ("questions",), None, "questions: expected a list, found None"),
        (
            "a",
            ("annotations", 0, "question_id"),
            690003,
            r"annotations\[1\]\.question_id: expected a question that is not",
        ),
        ("a", ("annotations", 0, "question_id"), 5, "expected a question that"),
        ("a", ("annotations", 0, "answers"), [], "expected at least one answer"),
        (
            "a",
            ("annotations", 0, "answers", 3),
            {"answer": None},
            r"annotations\[0\]\.answers\[3\]\.answer: expected text",
        ),
        ("a", ("annotations", 0, "answers", 3, "answer_id"), 1, "expected an answer_id of its own for every answer"),
        ("a", ("annotations", 0, "answer_type"), 3, r"answer_type: expected text, found 3"),
        ("a", ("annotations",), [ANNOTATIONS["annotations"][1]], r"question_id: expected a question that"),
    ],
)
def test_a_wrong_record_is_named(
    tmp_path: Path, file: str, place: tuple[str | int, ...], value: object, message: str
) -> None:
    content = {"q": copy.deepcopy(QUESTIONS), "a": copy.deepcopy(ANNOTATIONS)}
    target: Any = content[file]
    for step in place[:-1]:
        target = target[step]
    target[place[-1]] = value
    with pytest.raises(DataError, match=message):
        vqa_v2.read(files=files_of(tmp_path, content["q"], content["a"]))


def test_an_annotation_without_question_is_refused(tmp_path: Path) -> None:
    questions = {"questions": QUESTIONS["questions"][:1]}
    with pytest.raises(DataError, match="question 690004 is answered and not asked"):
        vqa_v2.read(files=files_of(tmp_path, questions, ANNOTATIONS))


def test_results(tmp_path: Path) -> None:
    path = written(tmp_path / "results.json", [{"question_id": 1, "answer": ""}, {"question_id": 2, "answer": "no"}])
    assert vqa_v2.read_results(path) == {1: "", 2: "no"}
    written(path, [{"question_id": 1, "answer": "a"}, {"question_id": 1, "answer": "b"}])
    with pytest.raises(DataError, match=r"results\[1\]\.question_id: expected a question that is not answered before"):
        vqa_v2.read_results(path)
    written(path, {"1": "a"})
    with pytest.raises(DataError, match="expected a list"):
        vqa_v2.read_results(path)


def test_sample_data_loads_in_full(shared_data: Path) -> None:
    folder = shared_data / "vqa_v2"
    for name, count in {"text_only": 1677, "with_images": 52, "val2014_first100": 54}.items():
        questions = next((folder / name).glob("*_questions.json"))
        annotations = next((folder / name).glob("*_annotations.json"))
        found = vqa_v2.read(files={"questions": questions, "annotations": annotations})
        assert len(found) == count and all(len(record.answers) == 10 for record in found)
        for results in (folder / name / "evaluator").glob("*_results.json"):
            assert len(vqa_v2.read_results(results)) == count
    assert len(vqa_v2.read_results(folder / "Results_OpenEnded_fake_results.json")) == 10
