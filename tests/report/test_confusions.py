"""Which wrong things a model puts first, counted by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.miniature import miniature_prepared
from vltool.errors import DataError
from vltool.report import confusions as module
from vltool.report.confusions import Left, confusions, hardest_captions
from vltool.tasks.prepare import PreparedTasks


@pytest.fixture(scope="module")
def prepared() -> PreparedTasks:
    return miniature_prepared()


def left(prepared: PreparedTasks, folder: Path, task: str, predictions: Any) -> Left:
    (folder / f"joint-test-{task}-predictions.json").write_text(json.dumps(predictions))
    return Left(prepared.examples[task]["train"], folder, f"joint-test-{task}")


@pytest.mark.parametrize("at_once", [1, 4_000_000])
def test_the_hardest_captions_of_a_table(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SCORES_AT_ONCE", at_once)
    scores = np.array([[5, 1, 4, 0], [9, 2, 3, 8], [0, 1, 7, 6]], np.float32)
    found = hardest_captions(scores, np.array([0, 0, 1, 2]))
    assert found.own.tolist() == [0, 2, 3] and found.wrong.tolist() == [2, 0, 2]
    assert found.margin.tolist() == [-1, 6, 1]


def test_captions_that_beat_a_pictures_own(prepared: PreparedTasks, tmp_path: Path) -> None:
    examples = prepared.examples["caption_retrieval"]["train"]
    images = list(dict.fromkeys(example.rows[0][0] for example in examples))
    owner = [images.index(example.rows[0][0]) for example in examples]
    scores = np.zeros((len(images), len(examples)), np.float32)
    scores[:, 0] = 4  # the first caption comes first everywhere
    np.save(tmp_path / "joint-test-caption_retrieval-scores.npy", scores)
    gold = {"caption_image": owner, "images": images, "captions": [example.example_id for example in examples]}
    (tmp_path / "joint-test-caption_retrieval-gold.json").write_text(json.dumps(gold))
    files = Left(examples, tmp_path, "joint-test-caption_retrieval")
    worst, hubs = confusions(prepared.tasks["caption_retrieval"], files)
    assert worst.frame["Picture"].tolist() == images[1 : 1 + module.SHOWN]
    assert set(worst.frame["of picture"]) == {images[0]} and worst.frame["Score"].iloc[0] == pytest.approx(
        98.2, abs=0.1
    )
    assert worst.note.startswith(f"For {len(images) - 1} of {len(images)} pictures")
    assert hubs.frame["Times"].tolist() == [len(images) - 1]
    gold["captions"] = ["another"] * len(examples)
    (tmp_path / "joint-test-caption_retrieval-gold.json").write_text(json.dumps(gold))
    with pytest.raises(DataError, match="is of other captions than the run has now"):
        confusions(prepared.tasks["caption_retrieval"], files)


def test_answers_are_confused_where_no_annotator_agrees(prepared: PreparedTasks, tmp_path: Path) -> None:
    examples = prepared.examples["vqa"]["train"]
    predictions = [{"question_id": example.target.question_id, "answer": "nonsense"} for example in examples]
    predictions[0]["answer"] = examples[0].target.answers[0]
    (table,) = confusions(prepared.tasks["vqa"], left(prepared, tmp_path, "vqa", predictions))
    assert set(table.frame["Answered"]) == {"nonsense"} and table.frame["Times"].sum() == len(examples) - 1
    assert table.note.startswith(f"Answers that no annotator gave: {len(examples) - 1} of {len(examples)} questions")


def test_phrases_are_missed_where_the_first_box_is_elsewhere(prepared: PreparedTasks, tmp_path: Path) -> None:
    examples = prepared.examples["grounding"]["train"]
    predictions = [
        {
            "image_id": example.target.image_id,
            "sentence": example.target.sentence_index,
            "phrase": number,
            "boxes": [[0, 0, 0.5, 0.5]] if place == 0 else [list(phrase.boxes[0])],
        }
        for place, example in enumerate(examples)
        for number, phrase in enumerate(example.target.phrases)
        if phrase.boxes
    ]
    (table,) = confusions(prepared.tasks["grounding"], left(prepared, tmp_path, "grounding", predictions))
    missed = sum(1 for phrase in examples[0].target.phrases if phrase.boxes)
    assert table.frame["Missed"].sum() == missed and table.note.startswith(f"{missed} of {len(predictions)} phrases")


@pytest.mark.parametrize("content", ["{", "[1]", "{}"])
def test_damaged_predictions_are_named(prepared: PreparedTasks, tmp_path: Path, content: str) -> None:
    (tmp_path / "joint-test-vqa-predictions.json").write_text(content)
    with pytest.raises(DataError, match=r"joint-test-vqa-predictions.json.*Score the run again: vltool eval"):
        confusions(prepared.tasks["vqa"], Left(prepared.examples["vqa"]["train"], tmp_path, "joint-test-vqa"))
