"""One picture has one name in all of 12-in-1's datasets, so that clean splits take it out of every training set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.datasets.twelve_files import (
    GAME,
    GQA,
    INSTANCES,
    PAIR,
    REFS,
    STATEMENT,
    VG_QA,
    VISUAL7W,
    changed,
    write_json,
    write_lines,
    write_pickle,
)
from vltool.cli.app import app
from vltool.config import RunConfig, from_dict
from vltool.tasks.split_proof import audit_trainings, build_splits, prepare_trainings

COCO, VG, FLICKR = 391895, 7, "2248275918"
"""A picture of COCO and its number in Visual Genome, and one of Flickr30k: each is evaluated by one task alone."""


def source(reader: str, split: str = "", **files: Path) -> list[dict[str, Any]]:
    return [{"reader": reader, "files": {name: str(path) for name, path in files.items()}, "split": split}]


def karpathy(path: Path, dataset: str, names: dict[str, list[str]]) -> Path:
    images, number = [], 0
    for split, listed in names.items():
        for name in listed:
            sentence = {"raw": f"a picture {number}", "tokens": [], "imgid": number, "sentid": number}
            images.append({"filename": name, "split": split, "sentences": [sentence]})
            number += 1
    return write_json(path, {"dataset": dataset, "images": images})


@pytest.fixture
def run(tmp_path: Path) -> RunConfig:
    """Every task trains on a picture that nothing evaluates and on one that the vqa or retrieval test evaluates."""
    images = write_json(
        tmp_path / "image_data.json",
        [{"image_id": VG, "coco_id": COCO, "height": 90, "width": 90}, {"image_id": 5, "coco_id": None}],
    )
    gqa = {"1": {**GQA["201"], "imageId": str(VG)}, "2": {**GQA["201"], "imageId": "n578564"}}
    questions = [{"question_id": k, "image_id": n, "question": "Is it?"} for k, n in ((1, 12), (2, COCO))]
    annotations = [
        {
            "question_id": k,
            "image_id": n,
            "question_type": "is it",
            "answer_type": "yes/no",
            "multiple_choice_answer": "yes",
            "answers": [{"answer": "yes", "answer_id": 1}],
        }
        for k, n in ((1, 12), (2, COCO))
    ]
    vqa = {
        split: source(
            "vqa_v2",
            questions=write_json(tmp_path / f"q{split}.json", {"questions": [questions[k]]}),
            annotations=write_json(tmp_path / f"a{split}.json", {"annotations": [annotations[k]]}),
        )
        for k, split in enumerate(("train", "test"))
    }
    instances = changed(INSTANCES, None)
    instances["images"].append({**instances["images"][0], "id": COCO})
    instances["annotations"].append({**instances["annotations"][0], "id": 40, "image_id": COCO})
    refs = [REFS[0], {**REFS[0], "ref_id": 4, "ann_id": 40, "image_id": COCO}]
    refs[1]["sentences"] = [{**refs[1]["sentences"][0], "sent_id": 9}]
    games = [GAME, {**GAME, "dialogue_id": 7, "picture_id": COCO}]
    pointing = changed(VISUAL7W, lambda content: content["images"][1].update(split="train"))
    pairs = [PAIR, {**PAIR, "pairID": "other", "Flickr30K_ID": "5"}]
    referring = {
        "refs": write_pickle(tmp_path / "refs(unc).p", refs),
        "instances": write_json(tmp_path / "instances.json", instances),
    }
    coco = karpathy(tmp_path / "coco.json", "coco", {"train": [f"COCO_val2014_{COCO:012}.jpg", "12.jpg"]})
    flickr = karpathy(tmp_path / "f.json", "flickr30k", {"train": ["5.jpg", "6.jpg"], "test": [f"{FLICKR}.jpg"]})
    statements = write_lines(tmp_path / "train.json", [STATEMENT, {**STATEMENT, "identifier": "train-1-1-1"}])
    train = {
        "visual_genome_qa": source(
            "visual_genome_qa", questions=write_json(tmp_path / "qa.json", VG_QA), images=images
        ),
        "gqa": source("gqa", questions=write_json(tmp_path / "gqa.json", gqa), images=images),
        "coco_retrieval": source("karpathy", "train", dataset=coco),
        **{name: source("referring", "train", **referring) for name in ("refcoco", "refcoco_plus", "refcocog")},
        "visual7w": source("visual7w", "train", dataset=write_json(tmp_path / "v7w.json", pointing), images=images),
        "guesswhat": source("guesswhat", games=write_lines(tmp_path / "games.jsonl", games)),
        "nlvr2": source("nlvr2", statements=statements),
        "snli_ve": source("snli_ve", pairs=write_lines(tmp_path / "snli.jsonl", pairs)),
    }
    tasks: dict[str, Any] = {name: {"train": found, "val": []} for name, found in train.items()}
    tasks["vqa"] = {"train": vqa["train"], "val": [], "test": vqa["test"]}
    tasks["flickr30k_retrieval"] = {
        "train": source("karpathy", "train", dataset=flickr),
        "val": [],
        "test": source("karpathy", "test", dataset=flickr),
    }
    return from_dict({"name": "twelve", "out": str(tmp_path / "run"), "tasks": tasks})


def test_a_picture_that_one_task_evaluates_is_left_out_of_all_others(run: RunConfig, tmp_path: Path) -> None:
    trainings = prepare_trainings(run)
    (prepared,) = trainings.values()
    found = build_splits(prepared, tmp_path / "splits", protocol="clean")
    assert found["removed_pictures"] == {
        **{
            name: {"removed": 1, "of": 2}
            for name in (
                "visual_genome_qa",
                "gqa",
                "coco_retrieval",
                "refcoco",
                "refcoco_plus",
                "refcocog",
                "visual7w",
                "guesswhat",
                "snli_ve",
            )
        },
        "vqa": {"removed": 0, "of": 1},
        "flickr30k_retrieval": {"removed": 0, "of": 2},
        "nlvr2": {"removed": 0, "of": 4},
    }
    assert found["removed"]["visual_genome_qa"] == 2 and found["removed"]["visual7w"] == 2
    kept = {name: {i for e in splits["train"] for i in e.image_ids} for name, splits in prepared.examples.items()}
    assert kept["gqa"] == {"gqa:n578564"} and kept["visual7w"] == {"vg:5"} and kept["guesswhat"] == {"coco:9"}
    assert kept["snli_ve"] == {"flickr30k:5"}
    assert kept["nlvr2"] == {f"nlvr2:{pair}-img{side}" for pair in ("dev-850-2", "train-1-1") for side in (0, 1)}
    assert audit_trainings(trainings, run)["clean"]


def test_without_image_data_the_audit_of_names_cannot_know(run: RunConfig) -> None:
    for name in ("visual_genome_qa", "gqa", "visual7w"):
        del run.tasks[name].train[0].files["images"]
    (prepared,) = prepare_trainings(run).values()
    removed = {row["task"]: row["contaminated_pictures"] for row in prepared.counts if row["split"] == "train"}
    assert removed["gqa"] == removed["visual7w"] == 0 and removed["guesswhat"] == 1


def test_the_table_of_pictures_is_printed(run: RunConfig, tmp_path: Path) -> None:
    import json

    from vltool.config import dump

    (tmp_path / "run.yaml").write_text(json.dumps(dump(run)))  # JSON is YAML
    result = CliRunner().invoke(app, ["splits", "build", str(tmp_path / "run.yaml")])
    assert result.exit_code == 0, result.output
    line = next(line for line in result.output.splitlines() if "visual_genome_qa" in line and "50.0 %" in line)
    assert line.split()[-1] == "2" or " 2 " in line
