"""Tables of groups together and apart, from scores written by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.report.sample_run import sample_config
from vltool.report.group_tables import GroupScores, group_tables, spread
from vltool.report.table import Table

GROUPS = {"answers": ["vqa"], "pictures": ["caption_retrieval", "grounding"]}
METRICS = {"vqa": "accuracy", "caption_retrieval": "text_to_image.recall@1", "grounding": "recall@1"}
ALL = ("caption_retrieval", "vqa", "grounding")


def row(scores: dict[str, list[float]], *, finetuned: bool = False) -> dict[str, Any]:
    found = {
        task: {METRICS[task]: {"values": values}, "rsum": {"values": [500, 500]}} for task, values in scores.items()
    }
    return {"tasks": list(scores), "seeds": [0, 1], "scores": found, **({"finetuned": True} if finetuned else {})}


ROWS = [
    row({"vqa": [60, 62]}),
    row({"caption_retrieval": [40, 40]}),
    row({"grounding": [50, 54]}),
    row({"caption_retrieval": [50, 40], "grounding": [50, 50]}),
    row({"caption_retrieval": [55, 42], "vqa": [66, 62], "grounding": [50, 55]}),
    row({"vqa": [70, 72]}, finetuned=True),
    row({"caption_retrieval": [44, 44]}, finetuned=True),
]


def texts(table: Table) -> dict[str, list[str]]:
    return {row[0].text: [cell.text for cell in row[1:]] for group in table.grouped() for row in group.rows}


def tables(tmp_path: Path, rows: list[dict[str, Any]]) -> list[Table]:
    return group_tables(sample_config(tmp_path, combinations={"groups": GROUPS, "seeds": [0, 1]}), rows)


def test_together_and_apart_with_averages_seed_by_seed(tmp_path: Path) -> None:
    table = tables(tmp_path, ROWS)[0]
    assert table.columns == ["Task", "Metric", "Alone", "With its group", "With all", "Fine-tuned from all"]
    found = texts(table)
    assert [group.heading for group in table.grouped()] == ["answers", "pictures", "all tasks"]
    assert found["vqa"] == ["accuracy", "61.00 ± 1.41", "61.00 ± 1.41", "64.00 ± 2.83", "71.00 ± 1.41"]
    assert found["grounding"][-1] == "–"
    # alone: (60 + 40 + 50)/3 = 50, (62 + 40 + 54)/3 = 52; all: (66 + 55 + 50)/3 = 57, (62 + 42 + 55)/3 = 53
    assert found["Average"] == [
        "",
        "51.00 ± 1.41",
        "52.00 ± 1.89",
        "55.00 ± 2.83",
        "–",
    ]  # with its group: 53.33 and 50.67
    assert found["Average less alone"][3] == "+4.00 ± 4.24"  # 7 and 1
    assert found["Average less alone"][1] == "–"


def test_who_helps_whom_is_relative_to_the_group_alone(tmp_path: Path) -> None:
    table = tables(tmp_path, ROWS)[1]
    found = texts(table)
    # vqa with pictures: 66/60 and 62/62. pictures with answers: (10 + 0)/2 = 5 and (5 + 10)/2 = 7.5 percent
    assert found["answers"] == ["–", "+5.00 ± 7.07", "+5.00 ± 7.07"]
    assert found["pictures"] == ["+6.25 ± 1.77", "–", "+6.25 ± 1.77"]
    assert found["Average"] == ["+6.25 ± 1.77", "+5.00 ± 7.07", ""]
    assert "2 seeds" in table.note


def test_what_was_not_trained_is_a_dash_and_without_groups_there_is_no_table(tmp_path: Path) -> None:
    found = texts(tables(tmp_path, ROWS[:2])[0])
    assert found["Average"][1:] == ["–", "–"] and found["vqa"][1:] == ["61.00 ± 1.41", "61.00 ± 1.41"]
    assert texts(tables(tmp_path, ROWS[:2])[1])["answers"] == ["–", "–", "–"]
    assert group_tables(sample_config(tmp_path), ROWS) == []
    assert spread([3.0]) == "3.00" and spread([-0.5], signed=True) == "−0.50"


def test_a_score_of_nothing_has_no_relative_gain() -> None:
    rows = [row({"vqa": [0, 1]}), row({"vqa": [1, 1], "grounding": [1, 1]})]
    scores = GroupScores(rows, ("vqa", "grounding"), {"a": ("vqa",), "b": ("grounding",)}, METRICS)
    assert scores.gain("a", ("grounding",)) is None
    scores.rows[0]["scores"]["vqa"]["accuracy"]["values"][0] = 2
    assert scores.gain("a", ("grounding",)) == [pytest.approx(-50), pytest.approx(0)]
