"""Predictions files of 12-in-1's datasets: their scores, and what is wrong with one that cannot be scored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.datasets.twelve_files import (
    CHOICES,
    GAME,
    GQA,
    IMAGE_DATA,
    INSTANCES,
    PAIR,
    REFS,
    STATEMENT,
    VG_QA,
    VISUAL7W,
    write_json,
    write_lines,
    write_pickle,
)
from vltool.cli.app import app
from vltool.datasets import referring
from vltool.errors import DataError
from vltool.evaluation.score_twelve import (
    score_gqa,
    score_guesswhat,
    score_nlvr2,
    score_referring,
    score_snli_ve,
    score_visual7w,
    score_visual_genome_qa,
)
from vltool.features.header import make_header
from vltool.features.store import RegionStore
from vltool.metrics.pointing import finds
from vltool.structures import RegionFeatures


def command(*words: object) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["score", *map(str, words), "--json", "--bootstrap", "20"])
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    assert found.pop("bootstrap")["draws"] == 20 and found.pop("intervals")
    return found


def predicted(folder: Path, content: Any) -> Path:
    return write_json(folder / "predictions.json", content)


@pytest.fixture
def gqa(tmp_path: Path) -> dict[str, Path]:
    return {
        "questions": write_json(tmp_path / "questions.json", GQA),
        "choices": write_json(tmp_path / "choices.json", CHOICES),
    }


def test_gqa(tmp_path: Path, gqa: dict[str, Path]) -> None:
    answers = [{"questionId": "201", "prediction": "picture"}, {"questionId": "202", "prediction": "no"}]
    path = predicted(tmp_path, answers)
    found = command("gqa", "--predictions", path, "--questions", gqa["questions"], "--choices", gqa["choices"])
    assert found["accuracy"] == 100 and found["consistency"] == 0 and found["plausibility"] == 100
    assert found["distribution"] == 0 and found["accuracy/structural/query"] == 100
    assert "consistency" not in score_gqa(predicted(tmp_path, answers[:1]), **gqa).scores


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (
            [{"questionId": "202", "prediction": "no"}],
            "1 of the 1 balanced questions of .*questions.json have no prediction, first 201. Give --questions "
            "the file that was predicted",
        ),
        (
            [{"questionId": n, "prediction": "no"} for n in ("201", "9", "6", "8", "7")],
            "4 of its 5 questions are not asked in .*questions.json, first 6, 7, 8. Give --questions the file",
        ),
        ({}, 'expected a list of {"questionId": text, "prediction": text}'),
    ],
)
def test_gqa_files_that_cannot_be_scored(tmp_path: Path, gqa: dict[str, Path], answers: Any, message: str) -> None:
    with pytest.raises(DataError, match=rf"predictions.json: {message}"):
        score_gqa(predicted(tmp_path, answers), questions=gqa["questions"])


def test_predictions_of_all_gqa_questions_are_told_from_those_of_the_balanced(tmp_path: Path) -> None:
    balanced = {number: question for number, question in GQA.items() if question["isBalanced"]}
    questions = {"all": GQA, "balanced": balanced}
    files = {name: write_json(tmp_path / f"{name}.json", content) for name, content in questions.items()}
    listed = {name: [{"questionId": n, "prediction": "picture"} for n in asked] for name, asked in questions.items()}
    with pytest.raises(DataError, match=r"1 of its 2 questions are not asked in .*balanced.json, .*all_questions"):
        score_gqa(predicted(tmp_path, listed["all"]), questions=files["balanced"])
    assert score_gqa(predicted(tmp_path, listed["balanced"]), questions=files["all"]).scores["accuracy"] == 100
    bare = write_json(tmp_path / "bare.json", {"202": GQA["202"]})
    with pytest.raises(DataError, match=r"bare.json: none of 1 questions is balanced.*Name the balanced or all"):
        score_gqa(predicted(tmp_path, [{"questionId": "202", "prediction": "no"}]), questions=bare)


def test_nlvr2(tmp_path: Path) -> None:
    other = {**STATEMENT, "identifier": "dev-850-3-0", "label": "False"}
    statements = write_lines(tmp_path / "dev.json", [STATEMENT, other])
    path = tmp_path / "predictions.csv"
    path.write_text("dev-850-2-0,True\ndev-850-3-0,True\n")
    assert command("nlvr2", "--predictions", path, "--statements", statements) == {"accuracy": 50, "consistency": 0}
    path.write_text("dev-850-2-0,True\n")
    with pytest.raises(DataError, match=r"1 items of .*dev.json have no prediction, first dev-850-3-0"):
        score_nlvr2(path, statements=statements)
    path.write_text("dev-850-2-0,True\ndev-850-3-0,True\ndev-1-1-1,True\n")
    with pytest.raises(DataError, match=r"1 items are not asked in .*dev.json, first dev-1-1-1\. Name the file"):
        score_nlvr2(path, statements=statements)


def test_referring_expressions(tmp_path: Path) -> None:
    files = {
        "refs": write_pickle(tmp_path / "refs(unc).p", REFS),
        "instances": write_json(tmp_path / "instances.json", INSTANCES),
    }
    given = ["--refs", files["refs"], "--instances", files["instances"], "--split", "train+testA"]
    boxes = [{"id": "3-0", "box": [30, 1, 50, 4]}, {"id": "3-1", "box": [5, 1, 25, 4]}]
    found = command("referring", "--predictions", predicted(tmp_path, boxes), *given)
    assert found == {"accuracy": 50, "accuracy/train": 100, "accuracy/testA": 0, "expressions": 2, "iou": "> 0.5"} | {
        "regions": "not said (--store)"
    }
    for wrong, message in (
        ([*boxes, boxes[0]], r"predictions\[2\]\.id: expected one that is not answered before"),
        ([boxes[0], {"id": "3-1", "box": [5, 1, 2, 4]}], r"predictions\[1\]\.box: expected four finite numbers"),
        ([{"id": "3-0", "box": ["30", 1, 50, 4]}], r"predictions\[0\]\.box: expected four finite numbers \[x1, y1, x2"),
        ([{"id": "3-0", "box": [True, 1, 50, 4]}], r"predictions\[0\]\.box: expected four .* found \[True, 1, 50, 4\]"),
        ([{"id": "3-0", "box": [float("nan"), 1, 50, 4]}], r"predictions\[0\]\.box: expected four finite numbers"),
        ([{"id": "3-0"}], r"predictions\[0\]\.box: expected four finite numbers .* found nothing"),
        (boxes[:1], r"1 items of .* have no prediction, first 3-1"),
    ):
        with pytest.raises(DataError, match=message):
            score_referring(predicted(tmp_path, wrong), **files, split="train+testA")


def test_referring_expressions_have_the_upper_bound_of_their_candidates(tmp_path: Path) -> None:
    files = {
        "refs": write_pickle(tmp_path / "refs(unc).p", REFS),
        "instances": write_json(tmp_path / "instances.json", INSTANCES),
    }
    records = referring.read(files=files, split="train+testA")
    size = {"height": 2 * records[0].height, "width": 2 * records[0].width}  # described at twice the size
    boxes = np.array([[60, 2, 100, 8], [10, 2, 14, 6]], np.float32)
    header = make_header(feature_dim=8, backend="builtin", fingerprint="f", recipe={"name": "bottom-up"})
    with RegionStore.create(tmp_path / "store", header) as store:
        for image_id in dict.fromkeys(record.image_id for record in records):
            store.put(RegionFeatures(image_id, np.zeros((2, 8), np.float16), boxes, **size))
    answers = [{"id": "3-0", "box": [30, 1, 50, 4]}, {"id": "3-1", "box": [5, 1, 7, 3]}]
    given = {**files, "split": "train+testA", "store": tmp_path / "store"}
    found = score_referring(predicted(tmp_path, answers), **given).scores
    possible = [bool(finds(boxes / 2, record.boxes[record.answer]).any()) for record in records]
    assert found["upper_bound"] == 100 * sum(possible) / len(possible) >= found["accuracy"] == 50
    assert found["regions"] == "builtin bottom-up"
    answers[1]["box"] = [5, 1, 25, 4]
    with pytest.raises(DataError, match=r"the box of 3-1, \[5.0, 1.0, 25.0, 4.0\], is none of the 2 regions"):
        score_referring(predicted(tmp_path, answers), **given)


def test_visual7w(tmp_path: Path) -> None:
    dataset = write_json(tmp_path / "dataset_v7w_pointing.json", VISUAL7W)
    answers = [{"qa_id": n, "candidates": [{"answer": box}, {"answer": 11}]} for n, box in ((1, 14), (2, 12))]
    given = ["--predictions", predicted(tmp_path, answers), "--dataset", dataset, "--split", "train"]
    assert command("visual7w", *given) == {"accuracy": 50, "questions": 2, "regions": "given"}
    for candidates, message in (
        ([], r"predictions\[0\]\.candidates: expected at least one .* for question 1, found \[\]"),
        ([None], r"predictions\[0\]\.candidates\[0\]: expected an object of fields, found None"),
        ([{"answer": "14"}], r"predictions\[0\]\.candidates\[0\]\.answer: expected a whole number ≥ 0, found '14'"),
        ([{"answer": True}], r"predictions\[0\]\.candidates\[0\]\.answer: expected a whole number ≥ 0, found True"),
    ):
        with pytest.raises(DataError, match=message):
            score_visual7w(
                predicted(tmp_path, [{"qa_id": 1, "candidates": candidates}]), dataset=dataset, split="train"
            )


def test_guesswhat(tmp_path: Path) -> None:
    lost = {**GAME, "dialogue_id": 2401, "status": "failure"}
    unasked = {**GAME, "dialogue_id": 2402, "qas": []}
    games = write_lines(tmp_path / "guesswhat.test.jsonl", [GAME, lost, unasked])
    answers = [{"dialogue_id": 2400, "object_id": 31}, {"dialogue_id": 2401, "object_id": 30}]
    found = command("guesswhat", "--predictions", predicted(tmp_path, answers), "--games", games)
    assert found == {"accuracy": 50, "accuracy/success": 100, "accuracy/failure": 0, "games": 2, "regions": "given"}
    won = command("guesswhat", "--predictions", predicted(tmp_path, answers[:1]), "--games", games, "--only", "success")
    assert won == {"accuracy": 100, "games": 1, "regions": "given"}
    for wrong, message in (
        (answers[:1], "1 items of .* have no prediction, first 2401"),
        ([*answers, {"dialogue_id": 2402, "object_id": 30}], r"1 items are not asked in .*, first 2402\. Name"),
        (
            [*answers, answers[0]],
            r"predictions\[2\]\.dialogue_id: expected one that is not answered before",
        ),
        ([{"dialogue_id": 2400, "object_id": "31"}], r"predictions\[0\]\.object_id: expected a whole number"),
        ([{"object_id": 31}], r"predictions\[0\]\.dialogue_id: expected a text or a whole number, found nothing"),
    ):
        with pytest.raises(DataError, match=message):
            score_guesswhat(predicted(tmp_path, wrong), games=games)
    for empty, message in (([], "found an empty list"), ({}, r"found \{\}")):
        with pytest.raises(DataError, match=f"predictions.json: expected a list of predictions, {message}"):
            score_guesswhat(predicted(tmp_path, empty), games=games)
    nothing = write_lines(tmp_path / "lost.jsonl", [lost, unasked])
    with pytest.raises(DataError, match=r"lost.jsonl: nothing in it is asked.* Name the file that was predicted"):
        score_guesswhat(predicted(tmp_path, answers), games=nothing, only="success")


def test_snli_ve(tmp_path: Path) -> None:
    entailed = {**PAIR, "pairID": "2248275918.jpg#2r1e", "gold_label": "entailment"}
    no_gold = {**PAIR, "pairID": "2248275918.jpg#2r1n", "gold_label": "-"}
    pairs = write_lines(tmp_path / "snli_ve_test.jsonl", [PAIR, entailed, no_gold])
    answers = [{"pairID": pair["pairID"], "prediction": "entailment"} for pair in (PAIR, entailed)]
    found = command("snli-ve", "--predictions", predicted(tmp_path, answers), "--pairs", pairs)
    assert found == {"accuracy": 50, "accuracy/contradiction": 0, "accuracy/entailment": 100, "pairs": 2}
    for wrong, message in (
        (answers[:1], "1 items of .* have no prediction, first 2248275918.jpg#2r1e"),
        (
            [{**answers[0], "prediction": "yes"}],
            r"predictions\[0\]\.prediction: expected one of contradiction",
        ),
        ([{**answers[0], "prediction": 1}], r"predictions\[0\]\.prediction: expected"),
    ):
        with pytest.raises(DataError, match=message):
            score_snli_ve(predicted(tmp_path, wrong), pairs=pairs)


def test_visual_genome_qa(tmp_path: Path) -> None:
    questions = write_json(tmp_path / "question_answers.json", VG_QA)
    images = write_json(tmp_path / "image_data.json", IMAGE_DATA)
    numbers = [pair["qa_id"] for picture in VG_QA for pair in picture["qas"]]  # type: ignore[attr-defined]
    answers = [{"question_id": n, "answer": "green" if n == numbers[0] else "red"} for n in numbers]
    path = predicted(tmp_path, answers)
    found = command("visual-genome-qa", "--predictions", path, "--questions", questions, "--images", images)
    assert found == {"accuracy": 25, "accuracy/what": 25, "questions": 4}
    ids = write_json(tmp_path / "ids.json", ["vg:5"])
    some = score_visual_genome_qa(predicted(tmp_path, answers[:2]), questions=questions, ids=ids)
    assert some.scores["accuracy"] == 50
    with pytest.raises(DataError, match=r"2 items are not asked in .*json, first 70\. Name the file"):
        score_visual_genome_qa(predicted(tmp_path, answers), questions=questions, ids=ids)
