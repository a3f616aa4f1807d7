"""Sources of a run: what is wrong with one is said with the key it stands under."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.miniature import miniature_tasks
from vltool.config import SourceConfig
from vltool.datasets.records import QuestionRecord
from vltool.errors import ConfigError, DataError
from vltool.structures import ImageId
from vltool.tasks.prepare import read_source
from vltool.tasks.vqa import VisualQuestionAnswering


def source(path: Path, **changes: object) -> SourceConfig:
    return SourceConfig(**{"reader": "vqa_v2", "files": {"questions": str(path)}, **changes})  # type: ignore[arg-type]


def test_errors_name_the_source_in_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "q.json"
    path.write_text(json.dumps({"questions": [{"image_id": "1", "question": "a?", "question_id": 1}]}))
    with pytest.raises(
        DataError, match=r"^tasks.vqa.val.1: .*q.json: questions\[0\].image_id: expected a whole number"
    ):
        read_source(source(path), place="tasks.vqa.val.1")
    with pytest.raises(DataError, match=r"^tasks.vqa.val.1: split 'val' chooses nothing"):
        read_source(source(path, split="val"), place="tasks.vqa.val.1")
    with pytest.raises(ConfigError, match=r"^tasks.vqa.val.1: image id pattern 'coco'"):
        read_source(source(path, image_id="coco"), place="tasks.vqa.val.1")


def test_a_source_that_gives_nothing_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "q.json"
    path.write_text('{"questions": []}')
    with pytest.raises(DataError, match=r"tasks.vqa.test.0: nothing to use in .*q.json"):
        read_source(source(path), place="tasks.vqa.test.0")


def test_questions_without_answers_can_be_tested_on_only() -> None:
    bare = [QuestionRecord(7, ImageId("coco:1"), "Who?")]
    task = VisualQuestionAnswering("mine", {"train": bare, "val": bare, "test": bare})
    assert len(task.examples("test")) == 1
    task.check_asked("test", task.examples("test"))
    assert task.ignorance(task.examples("test"), miniature_tasks()["vqa"].examples("train"), rows=None) == {}
    for split in ("train", "val"):
        with pytest.raises(DataError, match=rf"tasks.mine.{split}: 1 of 1 questions have no answers, first question 7"):
            task.examples(split)
