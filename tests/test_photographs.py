"""The whole road on real photographs: every one is stored, nothing is lost silently, held-out ones are scored."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.test_demo import run_json
from vltool.features.store import RegionStore

PIPELINE = Path(__file__).parents[1] / "pipelines" / "photographs.yaml"


@pytest.mark.slow
@pytest.mark.xdist_group("photographs")
def test_the_photographs_go_the_whole_road(tmp_path: Path, shared_data: Path) -> None:
    found = run_json("run", PIPELINE, "--set", f"data={shared_data}", "--set", f"out={tmp_path / 'run'}")["stages"]
    extracted = found["extract-features"]
    assert extracted["failed"] == 0
    assert extracted["stored"] == extracted["images"]
    store = RegionStore.open(tmp_path / "run" / "features.lmdb")
    annotations = shared_data / "coco_mini" / "annotations"
    photographs = [
        f"coco:{image['id']}"
        for split in ("train", "val")
        for image in json.loads((annotations / f"captions_{split}2017.json").read_text(encoding="utf-8"))["images"]
    ]
    assert photographs
    assert all(image_id in store for image_id in photographs)
    for task, scores in found["eval"]["test"].items():
        assert set(scores) == {"joint", "single", "ignorance"}, task
    rows = {
        (row["task"], row["split"]): row
        for row in json.loads((tmp_path / "run" / "counts.json").read_text(encoding="utf-8"))["examples"]
    }
    for row in rows.values():
        left_out = row["not_asked"] + row["contaminated"] + row["without_features"]
        assert row["read"] == row["used"] + left_out
    assert rows["vqa", "test"]["without_features"] > 0  # questions whose photograph is not in the sample
    assert rows["grounding", "test"]["used"] > 0
    page = Path(found["report"]["report"]).read_text(encoding="utf-8")
    assert "there are few photographs" in page
