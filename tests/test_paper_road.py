"""The paper's pipelines over the generated world: its files stand where the official ones are named, in their formats.

Entities' pictures get Flickr30k's names, and are extracted under them too, so that the sets share no picture, as the
official ones do not.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from vltool.cli.app import app
from vltool.world.files import write_world
from vltool.yaml_files import read_layers

ROOT = Path(__file__).parents[1]
MARKED = re.compile(r"\[/\S+ ([^\]]*)\]")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("paper")
    write_world(out / "world", num_train=12, num_val=10, num_test=10, questions_per_image=6)
    lines = [
        f"{path.stem}.jpg#{number}\t{MARKED.sub(lambda found: found[1], line)}\n"
        for path in sorted((out / "world" / "flickr30k_entities" / "Sentences").glob("*.txt"))
        for number, line in enumerate(path.read_text().splitlines())
    ]
    (out / "world" / "results_20130124.token").write_text("".join(lines))
    return out


def small(folder: Path, table: str) -> Path:
    """A pipeline of the paper with the world's files, a tiny network and a few updates."""
    raw = read_layers(ROOT / "pipelines" / f"{table}.yaml")
    world, out = folder / "world", folder / table
    for task in raw["tasks"].values():
        for source in (source for split in ("train", "val", "test") for source in task.get(split, [])):
            of_flickr30k = source["reader"].startswith("flickr30k")
            del source["expect"]
            source["image_id"] = "flickr30k:{number}" if of_flickr30k else "coco:{number}"
            source["files"] = {name: place_of(world, Path(path).name) for name, path in source["files"].items()}
    plan = yaml.safe_load((ROOT / raw["training"]["plan"]).read_text())
    for item in plan["tasks"]:
        item |= {"num_updates": 10, "batch_size": 8, "step_size": 5}
    (folder / f"{table}-plan.yaml").write_text(yaml.safe_dump(plan))
    raw["training"] |= {"plan": str(folder / f"{table}-plan.yaml"), "cycle_updates": 6}
    images = [str(world / "images")]
    extract = [{"images": images, "image_id": "coco:{number}"}, {"images": images, "image_id": "flickr30k:{number}"}]
    raw["features"] = {"store": str(folder / "features.lmdb"), "extract": extract}
    raw["text"] = {"glove": "world", "answer_threshold": 0}
    raw["encoder"]["options"] |= {"width": 16, "lstm_width": 8, "num_maps": 2}
    raw |= {"out": str(out), "combinations": {"seeds": [0], "jobs": 1}}
    (folder / f"{table}.yaml").write_text(yaml.safe_dump(raw))
    return folder / f"{table}.yaml"


def place_of(world: Path, name: str) -> str:
    entities = world / "flickr30k_entities" / name
    return str(entities if entities.exists() else world / name)


def vltool(*arguments: str) -> Any:
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0, (result.output, result.exception)
    return json.loads(result.stdout)


@pytest.mark.slow
def test_each_table_is_ready_and_runs_to_its_report(folder: Path) -> None:
    scored = {"paper_table3": {"caption_retrieval", "grounding"}, "paper_table5": {"caption_retrieval", "grounding"}}
    for table in ("paper_table1", "paper_table2", "paper_table3", "paper_table4", "paper_table5"):
        path = str(small(folder, table))
        assert vltool("run", path, "--dry-run")["ready"], table
        stages = vltool("run", path)["stages"]
        assert Path(stages["report"]["report"]).exists()
        if table in scored:
            assert set(stages["eval"]["test"]) == scored[table]
        elif "train-combinations" in stages:
            assert stages["train-combinations"]["trainings"] == 7
        else:
            assert Path(stages["train-joint"]["checkpoint"]).parent.name == "joint-ii"
            assert set(stages["eval"]["test"]) == {"vqa"}
