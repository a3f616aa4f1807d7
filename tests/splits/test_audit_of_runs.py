"""The audit of real files against plain loops over all pictures: the generated world, and the official samples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from vltool.cli.app import app
from vltool.config import RunConfig, from_dict
from vltool.features.header import make_header
from vltool.features.store import RegionStore
from vltool.structures import ImageId, RegionFeatures
from vltool.tasks.split_proof import (
    audit_trainings,
    build_splits,
    met_in_training,
    prepare_trainings,
    read_detector_list,
    stored_hashes,
)
from vltool.world.files import write_world

DEMO = Path(__file__).parents[2] / "vltool" / "world" / "demo.yaml"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("audited")
    write_world(out, num_train=10, num_val=30, num_test=40, questions_per_image=2)
    return out


def demo_run(world: Path, protocol: str) -> RunConfig:
    raw = yaml.safe_load(DEMO.read_text())
    raw["world"] = {"out": str(world)}
    return from_dict({**raw, "splits": {"protocol": protocol}, "out": str(world / "run")})


def sample_run(shared: Path) -> RunConfig:
    vqa, entities = shared / "vqa_v2", shared / "flickr30k_entities"
    captions = {
        "reader": "karpathy",
        "files": {"dataset": str(shared / "karpathy" / "derived" / "dataset_coco.json")},
    }
    coco = {"reader": "coco_captions", "files": {"captions": str(next(shared.rglob("captions_val*.json")))}}
    assert vqa.is_dir() and entities.is_dir()
    return from_dict(
        {
            "name": "samples",
            "out": "nowhere",
            "splits": {"protocol": "off"},
            "tasks": {
                "karpathy": {
                    "type": "caption_retrieval",
                    "train": [{**captions, "split": "train+restval"}],
                    "val": [{**captions, "split": "val"}],
                    "test": [{**captions, "split": "test"}],
                },
                "coco": {"type": "caption_retrieval", "train": [coco], "val": [coco]},
            },
        }
    )


def brute_force(config: RunConfig) -> list[dict[str, Any]]:
    rows = []
    for prepared in prepare_trainings(config).values():
        for trained, splits in prepared.examples.items():
            for task, others in prepared.examples.items():
                for split in ("val", "test"):
                    sought = {i for example in others[split] for i, _ in example.rows}
                    touched = [e for e in splits["train"] if {i for i, _ in e.rows} & sought]
                    images = {i for e in touched for i, _ in e.rows} & sought
                    rows.append(
                        {
                            "train": trained,
                            "evaluated": f"{task}/{split}",
                            "images": len(images),
                            "examples": len(touched),
                        }
                    )
    return rows


def ordered(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: (row["train"], row["evaluated"]))


@pytest.mark.parametrize("protocol", ["clean", "off"])
def test_the_world(world: Path, protocol: str) -> None:
    config = demo_run(world, protocol)
    found = audit_trainings(prepare_trainings(config), config)
    assert ordered(found["pairs"]) == ordered(brute_force(config))
    assert found["clean"] == (protocol == "clean") == (not any(row["images"] for row in found["pairs"]))


def test_the_paper_trains_twice_and_each_is_clean_for_what_it_is_scored_on(world: Path) -> None:
    config = demo_run(world, "paper")
    trainings = prepare_trainings(config)
    found = audit_trainings(trainings, config)
    assert {row["evaluated"] for row in found["pairs"] if "(paper-ii)" in row["train"]} == {"vqa/test"}
    first, second = (trainings[name].examples for name in ("paper-i", "paper-ii"))
    assert second["vqa"]["train"] == first["vqa"]["train"] + first["vqa"]["val"]
    assert all(splits["val"] == () for splits in second.values())
    vqa = next(row for row in trainings["paper-ii"].counts if (row["task"], row["split"]) == ("vqa", "train"))
    assert vqa["moved"] == len(first["vqa"]["val"]) and vqa["used"] == vqa["read"] + vqa["moved"]


def test_a_training_says_beforehand_which_scores_eval_will_refuse(world: Path) -> None:
    config = demo_run(world, "paper-i")
    told = met_in_training(prepare_trainings(config)["paper-i"], config)
    assert any("pictures of caption_retrieval/test train grounding" in sentence for sentence in told)
    assert not any("vqa/test" in sentence for sentence in told)  # training (i) is not scored there
    clean = demo_run(world, "clean")
    assert met_in_training(prepare_trainings(clean)["clean"], clean) == []


def test_the_samples(shared_data: Path) -> None:
    config = sample_run(shared_data)
    found = audit_trainings(prepare_trainings(config), config)
    assert ordered(found["pairs"]) == ordered(brute_force(config))
    assert not found["clean"]


def test_build_writes_lists_that_sha256sum_can_check(world: Path, tmp_path: Path) -> None:
    config = demo_run(world, "clean")
    (prepared,) = prepare_trainings(config).values()
    summary = build_splits(prepared, tmp_path, protocol="clean")
    assert summary == json.loads((tmp_path / "splits.json").read_text())
    import hashlib

    for line in (tmp_path / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == digest
    off = {row["task"]: row["read"] - row["not_asked"] for row in prepared.counts if row["split"] == "train"}
    for task, count in summary["removed"].items():
        assert summary["lists"][task]["train"]["examples"] == off[task] - count
    assert summary["removed"]["grounding"] > 0
    listed = set((tmp_path / "grounding.train.images.txt").read_text().split())
    assert not listed & set((tmp_path / "caption_retrieval.test.images.txt").read_text().split())


def test_the_detectors_own_pictures_and_copies_in_the_store_are_reported(world: Path, tmp_path: Path) -> None:
    config = demo_run(world, "clean")
    trainings = prepare_trainings(config)
    (prepared,) = trainings.values()
    trained = prepared.examples["vqa"]["train"][0].rows[0][0]
    evaluated = prepared.examples["vqa"]["test"][0].rows[0][0]
    number = evaluated.split(":")[1]
    (tmp_path / "list.txt").write_text(f"COCO_test2015_{int(number):012}.jpg\ncoco:5\nworld:999999\n")
    detector = read_detector_list(tmp_path / "list.txt", config)
    assert detector == [evaluated, "coco:5", "world:999999"]
    header = make_header(feature_dim=2, backend="builtin", fingerprint="x", recipe={"name": "detections"})
    with RegionStore.create(tmp_path / "s.lmdb", header) as store:
        for image_id, phash in ((trained, "00ff00ff00ff00ff"), (evaluated, "0000000000000000")):
            regions = RegionFeatures(
                ImageId(image_id), np.zeros((1, 2), np.float16), np.zeros((1, 4), np.float32), height=1, width=1
            )
            store.put(regions, {"sha256": "ab" * 32, "phash": phash, "phash_turned": ["00ff00ff00ff00fe"]})
    hashes = stored_hashes(tmp_path / "s.lmdb", {trained, evaluated, ImageId("world:999999")})
    found = audit_trainings(trainings, config, detector=detector, hashes=hashes)
    assert set(found) == {"clean", "pairs", "near_duplicates"} and not found["clean"]
    assert {"train": "detector", "evaluated": "vqa/test", "images": 1, "examples": 1} in found["pairs"]
    assert found["near_duplicates"] == [{"a": trained, "b": evaluated, "distance": 0}]
    looks_alone = audit_trainings(trainings, config, hashes=hashes[1:])
    assert looks_alone["near_duplicates"] == [{"a": trained, "b": evaluated, "distance": 1}]


def test_audit_of_the_command_line(world: Path, tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    raw = yaml.safe_load(DEMO.read_text())
    path.write_text(yaml.safe_dump({**raw, "world": {"out": str(world)}, "out": str(tmp_path / "run")}))
    result = CliRunner().invoke(app, ["splits", "audit", str(path), "--json"])
    assert result.exit_code == 0 and set(json.loads(result.stdout)) == {"clean", "pairs", "near_duplicates"}
    assert "compared by id alone" in result.stderr
    (tmp_path / "list.json").write_text(json.dumps([11, 12, 13]))
    arguments = ["splits", "audit", str(path), "--detector-list", str(tmp_path / "list.json")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2 and "detector" in result.stdout and "detector was trained on" in result.stderr


def test_near_duplicates_are_excluded_by_the_list_that_the_audit_writes(world: Path, tmp_path: Path) -> None:
    config = demo_run(world, "clean")
    (prepared,) = prepare_trainings(config).values()
    trained = prepared.examples["vqa"]["train"][0].rows[0][0]
    evaluated = prepared.examples["vqa"]["test"][0].rows[0][0]
    about = {name: sum(trained in e.image_ids for e in splits["train"]) for name, splits in prepared.examples.items()}
    header = make_header(feature_dim=2, backend="builtin", fingerprint="x", recipe={"name": "detections"})
    with RegionStore.create(tmp_path / "s.lmdb", header) as store:
        for image_id in (trained, evaluated):
            regions = RegionFeatures(
                ImageId(image_id), np.zeros((1, 2), np.float16), np.zeros((1, 4), np.float32), height=1, width=1
            )
            store.put(regions, {"phash": "00ff00ff00ff00ff", "phash_turned": []})
    path, listed = tmp_path / "run.yaml", tmp_path / "excluded.txt"
    raw = {**yaml.safe_load(DEMO.read_text()), "world": {"out": str(world)}, "out": str(tmp_path / "run")}
    path.write_text(yaml.safe_dump({**raw, "features": {"store": str(tmp_path / "s.lmdb")}}))

    def audit(*arguments: str) -> Any:
        return CliRunner().invoke(app, ["splits", "audit", str(path), *arguments])

    assert "--exclude-to excluded.txt, then set splits.exclude=excluded.txt" in audit().stderr
    result = audit("--exclude-to", str(listed))
    assert result.exit_code == 2 and "1 pictures added" in result.stderr and f"exclude={listed}" in result.stderr
    assert trained in listed.read_text().splitlines()
    assert "0 pictures added" in audit("--exclude-to", str(listed)).stderr
    assert audit("--set", f"splits.exclude={listed}", "--json").exit_code == 0
    arguments = ["splits", "build", str(path), "--set", f"splits.exclude=['{trained}']"]
    built = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert built["excluded"] == about
    assert built["lists"]["vqa"]["test"]["examples"] == len(prepared.examples["vqa"]["test"])
    assert "splits.exclude names their picture: caption_retrieval" in CliRunner().invoke(app, arguments).stdout
