"""Two runs compared item by item."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.report.sample_run import write, write_sample_run
from vltool.cli.app import app
from vltool.config import dump
from vltool.errors import DataError
from vltool.metrics.vqa_accuracy import accuracy_items
from vltool.report import tables
from vltool.report.differences import differences_from_first
from vltool.report.page import render
from vltool.report.run_files import RunFiles, read_run


def run_with_items(out: Path, shares: list[float], first_question: int = 0) -> RunFiles:
    config = write_sample_run(out)
    ids = list(range(first_question, first_question + len(shares)))
    items = accuracy_items(shares, ids, types={"accuracy/": ["yes/no"] * len(shares)})
    write(out / "eval" / "joint-test-vqa-items.json", items.to_json())
    return read_run(config)


def test_a_certain_difference_is_bold_in_the_comparison(tmp_path: Path) -> None:
    runs = [run_with_items(tmp_path / "a", [0.0, 0.3] * 20), run_with_items(tmp_path / "b", [1.0, 0.3] * 20)]
    (found,) = differences_from_first(runs, draws=200)
    interval = found.intervals["vqa"]["accuracy"]
    assert interval.value == pytest.approx(50) and 30 < interval.low < 50 < interval.high < 70
    assert set(found.without) == {"caption_retrieval", "grounding"}
    table = tables.comparison(runs, differences=[found])
    assert isinstance(table, tables.Table)
    column = "by hand (2) − by hand"
    place = next(k for k, row in table.frame.iterrows() if (row["Task"], row["Metric"]) == ("vqa", "accuracy"))
    assert table.frame[column].iloc[place].startswith("+50.0 (+")
    assert (place, column) in table.bold
    assert "No interval for grounding: by hand has no scores of single items" in table.note
    assert json.loads(json.dumps(found.to_json()))["tasks"]["vqa"]["accuracy"]["difference"] == pytest.approx(50)
    assert "+50.0 (+" in render(runs, differences=[found])


def test_runs_scored_on_other_questions_or_by_other_rules_are_not_paired(tmp_path: Path) -> None:
    runs = [run_with_items(tmp_path / "a", [0.0, 1.0]), run_with_items(tmp_path / "b", [0.0, 1.0], first_question=5)]
    assert differences_from_first(runs)[0].without["vqa"] == "the runs were scored on different items"
    path = tmp_path / "b" / "eval" / "joint-test.json"
    write(path, {**json.loads(path.read_text()), "rules": {"vqa": {"accuracy": "mine"}}})
    again = [runs[0], read_run(runs[1].config)]
    assert differences_from_first(again)[0].without["vqa"] == "the runs were scored by different rules"


def test_damaged_items_are_named(tmp_path: Path) -> None:
    runs = [run_with_items(tmp_path / name, [0.0, 1.0]) for name in "ab"]
    path = tmp_path / "b" / "eval" / "joint-test-vqa-items.json"
    path.write_text("[]")
    with pytest.raises(DataError, match=r"joint-test-vqa-items.json: expected scores of single items"):
        differences_from_first(runs)


def test_the_command_prints_the_differences(tmp_path: Path) -> None:
    for name, share in (("a", 0.3), ("b", 0.6)):
        files = run_with_items(tmp_path / name, [share] * 9)
        write(tmp_path / name / "config.json", dump(files.config))
    folders = [str(tmp_path / name) for name in "ab"]
    result = CliRunner().invoke(app, ["report", *folders, "--bootstrap", "50", "--json"])
    assert result.exit_code == 0, result.output
    (found,) = json.loads(result.stdout)["differences"]
    assert found["tasks"]["vqa"]["accuracy"]["difference"] == pytest.approx(30)
    assert found["tasks"]["vqa"]["accuracy"]["interval"] == pytest.approx([30, 30])
    shown = CliRunner().invoke(app, ["report", *folders, "--bootstrap", "50"]).stdout
    assert "+30.00" in shown and "grounding: no interval, by hand has no scores of single items" in shown
    assert "differences" not in json.loads(CliRunner().invoke(app, ["report", folders[0], "--json"]).stdout)


def test_a_copied_run_is_reported_from_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    files = run_with_items(Path("a"), [0.3] * 9)
    run_with_items(Path("b"), [0.6] * 9)
    for name in "ab":
        write(Path(name) / "config.json", dump(files.config))
    result = CliRunner().invoke(app, ["report", "a", "b", "--bootstrap", "50", "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["differences"][0]["tasks"]["vqa"]["accuracy"]["difference"] == pytest.approx(30)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert CliRunner().invoke(app, ["report", "../b", "--bootstrap", "0"]).stdout == "../b/report.html\n"
    assert (tmp_path / "b" / "report.html").exists() and not list(Path().iterdir())
