"""The pipelines of 12-in-1 over the generated world: its files stand for the official ones, in their formats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from vltool.cli.app import app
from vltool.dry_run import rehearsal
from vltool.world.files import write_world
from vltool.yaml_files import read_layers

ROOT = Path(__file__).parents[1]
SMALL = yaml.safe_load((ROOT / "pipelines" / "twelve_world.yaml").read_text())["encoder"]["options"]
PIPELINES = ("joint", "single", "groups", "finetuned", "pretraining")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("twelve")
    write_world(out / "world", num_train=40, num_val=12, num_test=12, questions_per_image=6, twelve=True)
    pictures = sorted((out / "world" / "gqa" / "images").glob("n*"))
    (out / "world" / "gqa" / "own.txt").write_text("".join(f"{path}\n" for path in pictures))
    return out


@pytest.fixture(autouse=True)
def short_measurements(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "LONG_ENOUGH_S", 0.01)
    monkeypatch.setattr(rehearsal, "EXAMPLES_ON_CPU", 4)


def place_of(world: Path, path: str) -> str:
    """Where the world has what a pipeline names."""
    name = path.partition("{data}/")[2].removeprefix("refer/")
    for found in (world / name, world / "flickr30k_entities" / Path(name).name, world / Path(name).name):
        if found.exists():
            return str(found)
    raise AssertionError(f"nothing stands for {path}")


def small(folder: Path, pipeline: str) -> Path:
    """A pipeline of 12-in-1 with the world's files, a tiny network and a few updates."""
    raw = json.loads(json.dumps(read_layers(ROOT / "pipelines" / f"twelve_{pipeline}.yaml")))  # aliases become copies
    world, out = folder / "world", folder / pipeline
    for task in raw["tasks"].values():
        for source in (source for split in ("train", "val", "test") for source in task.get(split, [])):
            source.pop("expect", None)
            if source["reader"] in ("flickr30k_captions", "snli_ve"):
                source["image_id"] = "flickr30k:{number}"
            source["files"] = {name: place_of(world, path) for name, path in source["files"].items()}
    for images in raw["features"]["extract"]:
        if images["image_id"].startswith(("coco:", "flickr30k:")):
            images |= {"images": [str(world / "images")], "image_id": images["image_id"].replace("stem", "number")}
        else:
            own = [path for path in images["images"] if not path.endswith("VG_100K_2")]
            images["images"] = [path[: path.startswith("@")] + place_of(world, path) for path in own]
            if "vg_images" in images:
                images["vg_images"] = place_of(world, images["vg_images"])
    stores = {"store": str(folder / f"{pipeline}.lmdb"), "given_store": str(folder / f"{pipeline}-given.lmdb")}
    raw["features"] = {"extract": raw["features"]["extract"], **(stores if pipeline != "pretraining" else {})}
    raw["text"] = {"tokenizer": "wordpiece", "wordpiece_size": 200, "answer_threshold": 0}
    raw["encoder"]["options"] |= SMALL | {"num_task_tokens": 20, "init_from": ""}
    plan = yaml.safe_load((ROOT / raw["training"]["plan"]).read_text())
    for item in plan["tasks"]:
        item |= {"level": 2, "num_updates": 4, "batch_size": 4, "step_size": 2}
    (folder / f"{pipeline}-plan.yaml").write_text(yaml.safe_dump(plan))
    raw["training"] |= {"plan": str(folder / f"{pipeline}-plan.yaml"), "cycle_updates": 12, "init_from": ""}
    raw |= {"out": str(out), "data": ""}
    (folder / f"{pipeline}.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    return folder / f"{pipeline}.yaml"


def vltool(*arguments: str) -> Any:
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0, (result.output, result.exception)
    return json.loads(result.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("pipeline", PIPELINES)
def test_each_pipeline_is_ready_with_files_of_the_official_formats(folder: Path, pipeline: str) -> None:
    found = vltool("run", str(small(folder, pipeline)), "--dry-run")
    assert found["ready"]
    told = "\n".join(f"{item['file']}: {item['found']}" for item in found["files"])
    if pipeline == "pretraining":
        assert "Conceptual Captions Train_GCC-training, which has 3,318,333" in told
        return
    assert "decoder pointing: shared by refcoco, refcoco_plus, refcocog, visual7w, guesswhat" in told
    for published in ("NLVR2 dev, which has 6,982", "refcoco+ testA+testB, which has 10,615", "GQA val_balanced"):
        assert published in told
    assert "no trained picture is evaluated" in told
