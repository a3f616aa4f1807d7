"""Referring expressions of the generated world: read as words, each fits the object it is said of and no other."""

from __future__ import annotations

import json
import pickle
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.world.twelve.reading import furthest, only, plainly, rows, towards
from vltool import plain_pickle
from vltool.world.scene import Scene
from vltool.world.twelve.refcoco_records import pickled

DATASETS = {"refcoco": "unc", "refcoco+": "unc", "refcocog": "umd"}
EXTREMES = {"leftmost": "left", "rightmost": "right", "topmost": "top", "bottommost": "bottom"}
PLACE_WORDS = {"left", "right", "top", "bottom", "above", "below", "middle", *EXTREMES}


@pytest.fixture(scope="module")
def refs(twelve_world: Path) -> dict[str, list[dict[str, Any]]]:
    return {
        dataset: plain_pickle.loads((twelve_world / dataset / f"refs({by}).p").read_bytes())
        for dataset, by in DATASETS.items()
    }


def meant(scene: Scene, text: str) -> int:
    """The row of the one object that the words single out."""
    if match := re.fullmatch(r"(left|right|top|bottom) (.+)", text):
        return furthest(scene, rows(scene, match[2]), match[1])
    if match := re.fullmatch(r"(.+) on (?:the )?(left|right|top|bottom)", text):
        return furthest(scene, rows(scene, match[1]), match[2])
    if match := re.fullmatch(r"the (\w+most) one of the (.+) in the picture", text):
        return furthest(scene, rows(scene, match[2]), EXTREMES[match[1]])
    if match := re.fullmatch(r"the (.+) that is (?:to the )?(left of|right of|above|below) the (.+)", text):
        words, side, anchor = match.groups()
        there = set(towards(scene, only(scene, anchor), side)) & set(rows(scene, words))
        (row,) = there
        assert plainly(scene, row, side, only(scene, anchor))
        assert len(rows(scene, words)) > 1, "the words alone would do"
        return row
    if match := re.fullmatch(r"the (\w+) which is (\w+) , (\w+) and (\w+)", text):
        return only(scene, " ".join(match.groups()))
    return only(scene, text)


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_expression_fits_its_object_alone(
    refs: dict[str, list[dict[str, Any]]], dataset: str, scene_of: Callable[[int], Scene]
) -> None:
    assert len(refs[dataset]) > 30
    for ref in refs[dataset]:
        scene = scene_of(ref["image_id"])
        for sentence in ref["sentences"]:
            assert meant(scene, sentence["raw"]) == ref["ann_id"] % 10 - 1, (ref, sentence["raw"])
            assert sentence["sent"] == " ".join(sentence["tokens"]) == sentence["raw"].replace(" ,", "")


@pytest.mark.parametrize("dataset", DATASETS)
def test_objects_that_are_referred_to_have_others_of_their_shape_beside_them(
    refs: dict[str, list[dict[str, Any]]], dataset: str, scene_of: Callable[[int], Scene]
) -> None:
    for ref in refs[dataset]:
        objects = scene_of(ref["image_id"]).objects
        assert sum(item.shape == objects[ref["ann_id"] % 10 - 1].shape for item in objects) > 1


def test_datasets_speak_in_their_own_ways(refs: dict[str, list[dict[str, Any]]]) -> None:
    said = {
        dataset: [sentence["tokens"] for ref in found for sentence in ref["sentences"]]
        for dataset, found in refs.items()
    }
    assert not any(PLACE_WORDS & set(tokens) for tokens in said["refcoco+"])
    placed = [tokens for tokens in said["refcoco"] if PLACE_WORDS & set(tokens)]
    assert 0.3 < len(placed) / len(said["refcoco"]) < 0.8
    lengths = {dataset: sum(map(len, found)) / len(found) for dataset, found in said.items()}
    assert lengths["refcocog"] > 2 * lengths["refcoco"] > 2


def test_test_a_and_test_b_are_of_different_shapes(
    refs: dict[str, list[dict[str, Any]]], content: Callable[[str], Any]
) -> None:
    names = {entry["id"]: entry["name"] for entry in content("refcoco/instances.json")["categories"]}
    shapes: dict[str, set[str]] = {"testA": set(), "testB": set()}
    for ref in refs["refcoco"] + refs["refcoco+"]:
        if ref["split"] in shapes:
            shapes[ref["split"]].add(names[ref["category_id"]])
    assert shapes["testA"] <= {"circle", "square", "triangle"} and shapes["testB"] <= {"star", "heart", "cross"}
    assert all(shapes.values())


@pytest.mark.parametrize("dataset", DATASETS)
def test_refs_lead_to_instances(
    refs: dict[str, list[dict[str, Any]]], dataset: str, content: Callable[[str], Any]
) -> None:
    instances = content(f"{dataset}/instances.json")
    annotations = {entry["id"]: entry for entry in instances["annotations"]}
    pictures = {image["id"]: image["file_name"] for image in instances["images"]}
    sentence_ids = [number for ref in refs[dataset] for number in ref["sent_ids"]]
    assert sentence_ids == list(range(len(sentence_ids)))
    assert [ref["ref_id"] for ref in refs[dataset]] == list(range(len(refs[dataset])))
    for ref in refs[dataset]:
        entry = annotations[ref["ann_id"]]
        assert (entry["image_id"], entry["category_id"]) == (ref["image_id"], ref["category_id"])
        assert ref["file_name"] == pictures[ref["image_id"]].replace(".jpg", f"_{ref['ann_id']}.jpg")
        assert ref["sent_ids"] == [sentence["sent_id"] for sentence in ref["sentences"]]
    counted = Counter(entry["image_id"] for entry in instances["annotations"])
    assert min(counted.values()) >= 3, "objects nobody refers to are annotated too"


def test_refs_have_the_official_keys(refs: dict[str, list[dict[str, Any]]], shared_data: Path) -> None:
    (official,) = plain_pickle.loads((shared_data / "twelve_in_one/refcoco/refs(unc).p").read_bytes())
    for found in refs.values():
        assert found[0].keys() == official.keys()
        assert found[0]["sentences"][0].keys() == official["sentences"][0].keys()
    sample = json.loads((shared_data / "twelve_in_one/refcoco/instances.json").read_text())
    assert sample["annotations"][0].keys() >= {"id", "image_id", "category_id", "bbox"}


def test_pickled_bytes_do_not_depend_on_shared_strings() -> None:
    word = "".join(["st", "ar"])
    shared, apart = [{"raw": word, "sent": word}], [{"raw": word, "sent": "".join(["st", "ar"])}]
    assert pickled(shared) == pickled(apart)
    assert pickle.loads(pickled(shared)) == apart
