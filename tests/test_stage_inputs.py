"""What a stage reads: a change in it is noticed wherever the file lies."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.predict.test_predict import Quiet
from tests.test_config import SMALL
from vltool.config import from_dict
from vltool.pipeline import finished_stages, run_pipeline
from vltool.stage_inputs import file_stamps, reads_features, reads_text
from vltool.stages.table import STAGES


def test_a_changed_archive_changes_the_stamp_of_its_members(tmp_path: Path) -> None:
    stamps = []
    for content in ("a", "ab"):
        with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
            archive.writestr("Sentences/1.txt", content)
        stamps.append(file_stamps([tmp_path / "all.zip" / "Sentences"]))
    assert stamps[0] and stamps[0] != stamps[1]


def test_the_excluded_pictures_and_the_store_are_read(tmp_path: Path) -> None:
    listed, store = tmp_path / "list.txt", tmp_path / "s.lmdb"
    store.mkdir()
    for name in ("data.mdb", "lock.mdb"):
        (store / name).write_text("a")
    listed.write_text("coco:1\n")
    config = from_dict({**SMALL, "splits": {"exclude": str(listed)}, "features": {"store": str(store)}})
    text, features = reads_text(config), reads_features(config)
    (store / "lock.mdb").write_text("ab")
    assert (reads_text(config), reads_features(config)) == (text, features)
    (store / "data.mdb").write_text("ab")
    listed.write_text("coco:1\ncoco:2\n")
    assert reads_text(config) != text and reads_features(config) != features


def test_what_other_stages_read_counts_where_a_run_leaves_them_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[str] = []
    stage = replace(STAGES["eval"], run=lambda *_: runs.append("eval") or {})
    monkeypatch.setitem(STAGES, "eval", stage)
    questions, plan = tmp_path / "q.json", tmp_path / "run" / "plan.json"
    questions.write_text("a")
    raw = {**SMALL, "out": str(tmp_path / "run"), "data": str(tmp_path), "stages": ["eval"]}

    def evaluated(raw: dict[str, Any]) -> bool:
        runs.clear()
        was_finished = finished_stages(from_dict(raw)) == ["eval"]
        run_pipeline(from_dict(raw), Quiet())
        assert was_finished == (runs == [])
        return bool(runs)

    assert evaluated(raw) and not evaluated(raw)
    raw["training"] = {"cycle_updates": 5}
    assert evaluated(raw) and not evaluated(raw)
    for path in (questions, plan):
        path.write_text("ab")
        assert evaluated(raw) and not evaluated(raw)
