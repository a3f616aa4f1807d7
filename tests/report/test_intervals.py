"""Intervals of a run's own scores, where the page prints them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from tests.report.sample_run import write_sample_run
from vltool.metrics.bootstrap import difference_intervals, intervals
from vltool.metrics.item_scores import ItemScores
from vltool.metrics.vqa_accuracy import accuracy_items
from vltool.report import tables
from vltool.report.intervals import NONE, intervals_of
from vltool.report.page import findings, write_report
from vltool.report.paper_tables import paper_tables
from vltool.report.run_files import RunFiles, read_run
from vltool.report.table import FIGURE_SPACE, Table


def items(seed: int, count: int) -> ItemScores:
    shares = np.random.default_rng(seed).integers(0, 4, count) / 3
    return accuracy_items(shares, list(range(count)), types={"accuracy/": ["yes/no"] * count})


@pytest.fixture(params=[60])
def files(tmp_path: Path, request: pytest.FixtureRequest) -> RunFiles:
    config = write_sample_run(tmp_path)
    for seed, model in enumerate(("single", "joint")):
        path = tmp_path / "eval" / f"{model}-test-vqa-items.json"
        path.write_text(json.dumps(items(seed, request.param).to_json()))
    return read_run(config)


def test_they_are_those_of_the_items(files: RunFiles) -> None:
    found = intervals_of(files, draws=100, seed=3)
    single, joint = intervals(items(0, 60), draws=100, seed=3), intervals(items(1, 60), draws=100, seed=3)
    between = difference_intervals(items(0, 60), items(1, 60), draws=100, seed=3)["accuracy"]
    assert found.bounds("single", "test", "vqa", "accuracy") == (single["accuracy"].low, single["accuracy"].high)
    assert found.bounds("joint", "test", "vqa", "accuracy") == (joint["accuracy"].low, joint["accuracy"].high)
    assert found.difference("test", "vqa", "accuracy") == (between.low, between.high)
    assert found.bounds("joint", "test", "grounding", "recall@1") is None  # no items of these
    assert intervals_of(files, draws=0) == NONE


def test_every_score_that_has_one_shows_it(files: RunFiles) -> None:
    found = intervals_of(files, draws=100)
    low, high = found.bounds("joint", "test", "vqa", "accuracy")  # type: ignore[misc]
    shown = f"({low:.1f} to {high:.1f})"
    table = tables.summary(files, intervals=found)
    assert isinstance(table, Table) and "95 % bootstrap intervals, 100 resamples" in table.note
    cells = [cell for group in table.grouped() for row in group.rows for cell in row]
    assert shown in [cell.interval.strip(FIGURE_SPACE) for cell in cells]
    assert any(shown in line for line in findings(files, found))
    layout = dict(paper_tables(files, intervals=found))["table-4"]
    assert any(f"({low:.2f} to {high:.2f})" == layout._bounds(key) for key in layout.bounds)
    both = tables.comparison([files, files], intervals=[found, found])
    assert isinstance(both, Table) and len(both.bounds) == 4


def test_they_are_on_the_page(files: RunFiles, tmp_path: Path) -> None:
    text = write_report(files.config, tmp_path / "page.html", draws=100).read_text(encoding="utf-8")
    assert re.search(r'<span class="interval">\(\d+\.\d+ to \d+\.\d+\)</span>', text)
    without = write_report(files.config, tmp_path / "page.html", draws=0).read_text(encoding="utf-8")
    assert 'class="interval"' not in without


@pytest.mark.parametrize("files", [12], indirect=True)
def test_few_questions_are_said(files: RunFiles) -> None:
    assert "too narrow where so few pictures or questions are drawn: vqa (12)" in intervals_of(files, draws=50).note


@pytest.mark.parametrize("files", [1], indirect=True)
def test_one_question_has_no_interval(files: RunFiles) -> None:
    assert intervals_of(files, draws=50).bounds("joint", "test", "vqa", "accuracy") is None
