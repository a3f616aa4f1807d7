"""Features of given boxes, from the stage that pools them to the batch of a training."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from vltool.cli.app import app
from vltool.config import RunConfig, dump, from_dict
from vltool.datasets.coco_instances import read as read_instances
from vltool.errors import DataError, StoreError
from vltool.features.header import make_header
from vltool.features.store import RegionStore
from vltool.stages.data import embed_text, extract_features
from vltool.tasks.prepare import prepare_tasks
from vltool.training.inputs import load_inputs, open_given
from vltool.world.files import write_world


class Quiet:
    def say(self, text: str) -> None: ...

    def progress(self, label: str, done: int, total: int) -> None: ...

    def table(self, title: str, columns: list[str], rows: list[list[str]]) -> None: ...


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    """Four drawn pictures and a game about each of their things, their features and those of the things' boxes."""
    folder = tmp_path_factory.mktemp("given")
    write_world(folder / "world", num_train=4, num_val=4, num_test=4, questions_per_image=1)
    instances = folder / "world" / "annotations" / "instances_train2014.json"
    pictures: dict[str, list[Any]] = {}
    for thing in read_instances(files={"instances": instances}):
        pictures.setdefault(thing.image_id, []).append(thing)
    games = [
        {
            "id": 100 * k + number,
            "image": {"id": int(image_id[5:]), "height": own.height, "width": own.width},
            "qas": [{"question": f"Is it a {own.class_name}?", "answer": "Yes"}],
            "objects": [
                {"id": t.object_id, "bbox": [t.box[0], t.box[1], t.box[2] - t.box[0], t.box[3] - t.box[1]]}
                for t in things
            ],
            "object_id": own.object_id,
            "status": "success",
        }
        for k, (image_id, things) in enumerate(pictures.items())
        for number, own in enumerate(things)
    ]
    (folder / "games.jsonl").write_text("".join(json.dumps(game) + "\n" for game in games))
    source = {"reader": "guesswhat", "files": {"games": str(folder / "games.jsonl")}}
    config = from_dict(
        {
            "name": "given",
            "out": str(folder / "run"),
            "features": {
                "given_store": "{out}/given.lmdb",
                "workers": 1,
                "extract": [{"images": [str(folder / "world" / "images" / "train2014")], "image_id": "coco:{number}"}],
            },
            "tasks": {"guesswhat": {"train": [{**source, "every": 2}], "val": [{**source, "every": 2, "keep": [1]}]}},
        }
    )
    extract_features(config, Quiet())
    return config


def test_the_stage_pools_what_tasks_want_and_batches_find_it(run: RunConfig) -> None:
    embed_text(run, Quiet())
    inputs = load_inputs(run)
    assert inputs.given is not None and len(inputs.given) == len(inputs.store) == 4
    task, examples = inputs.prepared.tasks["guesswhat"], inputs.prepared.examples["guesswhat"]["train"]
    batch, rows = inputs.batching().batch(task, examples)
    for place, (example, row) in enumerate(zip(examples, rows, strict=True)):
        record = example.target
        pooled = inputs.given.get(record.image_id)
        assert row.num_given == len(record.boxes) == pooled.num_regions
        np.testing.assert_allclose(row.regions.boxes[row.num_detected :], record.boxes, atol=1e-4)
        own = row.num_detected + record.answer
        distance = np.abs(pooled.boxes - np.array(record.boxes[record.answer])).max(axis=1)
        held = batch.regions[batch.rows[place, 0], own].numpy()
        np.testing.assert_array_equal(held, pooled.features[distance.argmin()])
        assert batch.targets["overlap"][place, own] == pytest.approx(1, abs=1e-4)
    assert inputs.rules("guesswhat") == {"boxes": "given", "games": "all", "regions": "builtin bottom-up"}


def test_the_command_writes_the_same_boxes(run: RunConfig, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(json.dumps(dump(run)))
    result = CliRunner().invoke(
        app, ["features", "boxes", str(tmp_path / "run.yaml"), "--out", str(tmp_path / "b.json")]
    )
    assert result.exit_code == 0 and "boxes of 4 pictures" in result.output
    found = json.loads((tmp_path / "b.json").read_text())
    with RegionStore.open(run.features.given_store) as store:
        for image_id, boxes in found.items():
            np.testing.assert_array_equal(np.array(boxes, np.float32), store.get(image_id).boxes)


def test_what_is_missing_is_said_before_a_training(run: RunConfig, tmp_path: Path) -> None:
    prepared = prepare_tasks(run)
    with RegionStore.open(run.features.store) as store:
        without = replace(run, features=replace(run.features, given_store=""))
        with pytest.raises(DataError, match=r"tasks.guesswhat wants features of boxes.*Set features.given_store"):
            open_given(without, prepared, store)
        header = {name: store.header[name] for name in ("feature_dim", "backend", "fingerprint")}
        recipe = {"name": "given-boxes"}
        for name, change, error, message in (
            ("other", {"fingerprint": "other"}, StoreError, "its features have fingerprint 'other'"),
            ("empty", {}, DataError, r"4 of 4 pictures have no features of given boxes in .*vltool features boxes"),
        ):
            path = tmp_path / name
            RegionStore.create(path, make_header(**{**header, **change}, recipe=recipe)).close()
            chosen = replace(run, features=replace(run.features, given_store=str(path)))
            with pytest.raises(error, match=message):
                open_given(chosen, prepared, store)


def test_tasks_without_given_boxes_need_no_store_of_them(run: RunConfig) -> None:
    with RegionStore.open(run.features.store) as store:
        assert open_given(run, prepare_tasks(run).only([]), store) is None
