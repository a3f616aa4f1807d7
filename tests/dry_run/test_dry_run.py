"""A dry run finds everything that is wrong, all of it at once, writes nothing, and reckons with measured steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from vltool.cli.app import app
from vltool.dry_run import rehearsal, stand_in
from vltool.features.header import make_header
from vltool.features.store import RegionStore
from vltool.structures import ImageId, RegionFeatures
from vltool.world.files import write_world

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("world")
    write_world(out, num_train=12, num_val=4, num_test=4, questions_per_image=6)
    return out


@pytest.fixture(autouse=True)
def short_measurements(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "LONG_ENOUGH_S", 0.01)
    monkeypatch.setattr(rehearsal, "EXAMPLES_ON_CPU", 8)
    monkeypatch.setattr(stand_in, "NUM_PICTURES", 8)


@pytest.fixture
def run(tmp_path: Path, world: Path) -> Path:
    """A run over the world, whose stage `world` is done."""
    raw = yaml.safe_load((ROOT / "vltool" / "world" / "demo.yaml").read_text())
    raw |= {
        "out": str(tmp_path / "run"),
        "world": {"out": str(world), "train": 12, "val": 4, "test": 4, "questions_per_image": 6},
        "text": {"answer_threshold": 0},
        "encoder": {"name": "dense_coattention", "options": {"width": 16, "num_levels": 2, "lstm_width": 8}},
        "search": {"grid": {"level": [1, 2], "batch_size": [4], "num_updates": [10], "step_size": [2]}, "jobs": 1},
        "training": {"cycle_updates": 3},
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(raw))
    return tmp_path / "run.yaml"


def dry(run: Path, *overrides: str, code: int = 0) -> dict[str, Any]:
    options = [word for override in overrides for word in ("--set", override)]
    result = CliRunner().invoke(app, ["run", str(run), "--dry-run", "--json", *options])
    assert result.exit_code == code, (result.output, result.exception)
    found: dict[str, Any] = json.loads(result.stdout)
    assert found["ready"] is (code == 0)
    return found


def problems(found: dict[str, Any]) -> dict[str, str]:
    return {Path(item["file"]).name: item["wrong"] for item in found["problems"]}


def test_a_complete_run_is_ready_and_nothing_is_written(run: Path, world: Path) -> None:
    before = sorted(path for path in run.parent.rglob("*"))
    found = dry(run)
    assert sorted(path for path in run.parent.rglob("*")) == before and not Path(found["out"]).exists()
    assert found["problems"] == []
    stages = {item["stage"]: item for item in found["estimate"]["stages"]}
    assert list(stages) == ["extract-features", "embed-text", "search-layers", "train-joint", "eval"]
    assert all(item["seconds"] > 0 for item in stages.values())
    assert stages["search-layers"]["reckoned"].startswith("6 training(s), 60 updates")
    assert stages["train-joint"]["disk_bytes"] > 0 and stages["train-joint"]["memory_bytes"] > 0
    assert found["estimate"]["seconds"] == pytest.approx(sum(item["seconds"] for item in stages.values()))
    told = "\n".join(f"{item['file']}: {item['found']}" for item in found["files"])
    assert "a part of VQA v2 val2014, which has 214,354" in told
    assert "no trained picture is evaluated" in told and "44 pictures are yet to be described" in told


def test_the_page_for_people_ends_with_what_is_wrong(run: Path) -> None:
    shown = CliRunner().invoke(app, ["run", str(run), "--dry-run", "--set", "text.glove=/nowhere/glove.txt"])
    assert shown.exit_code == 2
    assert "WRONG embed-text: /nowhere/glove.txt: no such file" in shown.stdout
    assert shown.stdout.rstrip().endswith("not ready: 1 to put right")
    assert (
        CliRunner().invoke(app, ["run", str(run), "--dry-run"]).stdout.rstrip().endswith("nothing is missing or wrong")
    )


def test_everything_that_is_wrong_is_named_at_once(run: Path, tmp_path: Path, world: Path) -> None:
    cut = tmp_path / "cut.json"
    cut.write_text((world / "v2_mscoco_val2014_annotations.json").read_text()[:5000])
    ids = tmp_path / "ids.txt"
    ids.write_text("1\n99999\n")
    (tmp_path / "weights.pth").write_bytes(b"not weights")
    (tmp_path / "glove.txt").write_text("no numbers\n")
    (tmp_path / "empty").mkdir()
    found = dry(
        run,
        "tasks.vqa.train.0.files.questions=/nowhere/questions.json",
        f"tasks.vqa.val.0.files.annotations={cut}",
        f"tasks.grounding.val.0.files.split={ids}",
        "tasks.caption_retrieval.val.0.expect={pictures: 5}",
        f"text.glove={tmp_path / 'glove.txt'}",
        f"features.config_file={ROOT / 'vltool/world/detector/config.yaml'}",
        f"features.weights={tmp_path / 'weights.pth'}",
        f"features.extract.0.images=[/nowhere/pictures, {tmp_path / 'empty'}]",
        "search.grid.level=[7]",
        "splits.exclude=[nonsense]",
        "training.device=cuda:99",
        code=2,
    )
    wrong = problems(found)
    assert wrong["questions.json"] == "no such file or folder"
    assert "is the download complete?" in wrong["cut.json"]
    assert "1 of its 2 pictures have no file" in wrong["ids.txt"]
    assert "4 pictures, expected are 5" in wrong["dataset_coco.json"]
    assert "not word vectors" in wrong["glove.txt"]
    assert "weights.pth" in wrong
    assert wrong["pictures"] == "no such file or folder" and "no images in this folder" in wrong["empty"]
    assert "holds 7; legal is 1 to 2" in wrong["search.grid"]
    assert "expected the id of a picture" in wrong["splits.exclude"]
    assert "training.device: cuda:99" in wrong
    assert all(item["todo"] and item["stage"] for item in found["problems"])


def test_splits_that_the_protocol_forbids_are_named(run: Path) -> None:
    found = dry(run, "splits.protocol=paper-i", code=2)
    assert any("trains on" in item["wrong"] and "vqa/val" in item["wrong"] for item in found["problems"])
    off = dry(run, "splits.protocol=off")
    assert any("its scores will be marked" in item["found"] for item in off["files"])


def test_a_whole_file_that_was_cut_is_told_from_a_sample(run: Path, tmp_path: Path) -> None:
    images = [
        {"filename": f"{n}.jpg", "split": split, "sentences": [{"raw": "A box .", "sentid": n}]}
        for n, split in enumerate(["train"] * 12 + ["val"] * 999)
    ]
    (tmp_path / "dataset_flickr8k.json").write_text(json.dumps({"dataset": "flickr8k", "images": images}))
    source = "{reader: karpathy, files: {dataset: %s}, split: %s}"
    sources = {split: source % (tmp_path / "dataset_flickr8k.json", split) for split in ("train", "val")}
    found = dry(run, *(f"tasks.caption_retrieval.{split}=[{text}]" for split, text in sources.items()), code=2)
    assert "999 pictures, but Karpathy's flickr8k val has 1,000 pictures" in problems(found)["dataset_flickr8k.json"]
    assert any("a part of Karpathy's flickr8k train" in item["found"] for item in found["files"])


def test_test_questions_without_answers_are_said_to_be_predicted_only(run: Path) -> None:
    raw = yaml.safe_load(run.read_text())
    del raw["tasks"]["vqa"]["test"][0]["files"]["annotations"]
    run.write_text(yaml.safe_dump(raw))
    found = dry(run)
    assert any("predicted for the evaluation server, not scored" in item["found"] for item in found["files"])


def test_a_world_that_is_yet_to_be_drawn_is_no_problem(run: Path, tmp_path: Path) -> None:
    found = dry(run, f"world.out={tmp_path / 'later'}")
    told = [item["found"] for item in found["files"]]
    assert "the stage world will write it" in told and "the stage world will draw its pictures" in told
    assert any("stand for theirs" in line for line in found["estimate"]["assumptions"])
    missing = dry(run, f"world.out={tmp_path / 'later'}", "stages=[extract-features, embed-text]", code=2)
    assert problems(missing)["dataset_coco.json"] == "no such file or folder"


def test_a_plan_by_hand_is_checked(run: Path, tmp_path: Path) -> None:
    stages = "stages=[world, extract-features, embed-text, train-joint, eval]"
    plan = tmp_path / "plan.yaml"
    assert "no plan file" in problems(dry(run, stages, f"training.plan={plan}", code=2))["plan.yaml"]
    tasks = [
        {"task": name, "level": level, "num_updates": 9, "batch_size": 4, "step_size": 3}
        for name, level in (("caption_retrieval", 1), ("vqa", 3), ("grounding", 1))
    ]
    plan.write_text(yaml.safe_dump({"tasks": tasks}))
    assert "level 3 of vqa: legal is 1 to 2" in problems(dry(run, stages, f"training.plan={plan}", code=2))["plan.yaml"]
    plan.write_text(plan.read_text().replace("level: 3", "level: 2"))
    found = dry(run, stages, f"training.plan={plan}")
    assert "27 updates" in {item["stage"]: item["reckoned"] for item in found["estimate"]["stages"]}["train-joint"]
    plan.write_text(plan.read_text().replace("batch_size: 4", "batch_size: 1000"))
    large = [item["wrong"] for item in dry(run, stages, f"training.plan={plan}", code=2)["problems"]]
    assert "batch_size (task caption_retrieval) holds 1000; legal is 1 to" in large[0]


def test_features_of_another_detector_and_pictures_without_any_are_named(run: Path, tmp_path: Path) -> None:
    store = tmp_path / "other.lmdb"
    header = make_header(feature_dim=8, backend="bottom-up-tsv", fingerprint="other", recipe={"name": "imported"})
    with RegionStore.create(store, header) as written:
        features, boxes = np.ones((2, 8), np.float16), np.array([[0, 0, 9, 9], [1, 1, 5, 5]], np.float32)
        written.put(RegionFeatures(ImageId("world:1"), features, boxes, height=10, width=10))
    assert "made with backend 'bottom-up-tsv'" in problems(dry(run, f"features.store={store}", code=2))["other.lmdb"]
    stages = "stages=[embed-text, search-layers]"
    wrong = problems(dry(run, f"features.store={store}", stages, code=2))
    assert "are not in the store nor to be described" in wrong["tasks.vqa.train"]
    none = problems(dry(run, stages, code=2))
    assert none["features.lmdb"] == "no feature store there"


def test_what_the_grid_sets_is_said_not_to_be_timed(run: Path) -> None:
    told = dry(run, "search.tasks={vqa: {set: {encoder.options.width: [16, 32]}}}")["estimate"]["assumptions"]
    assert any("whatever search.grid.set makes of it" in line for line in told)
    assert not any("search.grid.set" in line for line in dry(run)["estimate"]["assumptions"])


def test_a_device_that_is_not_there_is_said_and_another_is_timed(run: Path) -> None:
    found = dry(run, "training.device=cuda:99", "training.patience=2", code=2)
    assert set(problems(found)) == {"training.device: cuda:99", "training"}
    assert any("timed with training.device=auto" in line for line in found["estimate"]["assumptions"])
    assert all(item["seconds"] for item in found["estimate"]["stages"])


def test_too_little_disk_or_memory_is_said(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vltool.dry_run import estimate

    monkeypatch.setattr(estimate, "machine_bytes", lambda: 1000)
    monkeypatch.setattr(estimate.shutil, "disk_usage", lambda place: type("Usage", (), {"free": 10})())
    wrong = [item["wrong"] for item in dry(run, code=2)["problems"]]
    assert any("GB of disk" in text for text in wrong) and any("GB of memory" in text for text in wrong)


def test_what_is_up_to_date_takes_no_time(run: Path) -> None:
    result = CliRunner().invoke(app, ["run", str(run), "--set", "stages=[world, extract-features, embed-text]"])
    assert result.exit_code == 0, result.output
    found = dry(run, "stages=[world, extract-features, embed-text]")
    assert {item["reckoned"] for item in found["estimate"]["stages"]} == {"up to date"}
    rest = {item["stage"]: item for item in dry(run)["estimate"]["stages"]}
    assert rest["embed-text"]["seconds"] == 0 and rest["search-layers"]["seconds"] > 0


@pytest.mark.parametrize("name", ["paper_table1", "paper_table4"])
def test_a_pipeline_of_the_paper_without_data_names_every_file(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    small = ["encoder.options={width: 8, num_levels: 5, lstm_width: 4, num_maps: 1}", "data=/nowhere"]
    found = dry(ROOT / "pipelines" / f"{name}.yaml", *small, code=2)
    missing = problems(found)
    assert {"dataset_coco.json", "glove.840B.300d.txt", "train.txt", "train2014", "test-caffe-r101.yaml"} <= set(
        missing
    )
    assert ("test2015" in missing) is (name == "paper_table4")
    assert set(missing.values()) <= {"no such file or folder", "no such file"}
    assert any(item["seconds"] for item in found["estimate"]["stages"])


def test_real_files_and_photographs_are_ready(shared_data: Path, tmp_path: Path) -> None:
    found = dry(ROOT / "pipelines" / "photographs.yaml", f"data={shared_data}", f"out={tmp_path / 'run'}")
    told = "\n".join(item["found"] for item in found["files"])
    assert "a part of VQA v2 val2014, which has 214,354" in told and not (tmp_path / "run").exists()
