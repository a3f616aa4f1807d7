"""Near duplicates, and the record of what trained a model."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vltool.errors import CheckpointError, DataError
from vltool.splits.audit import TrainedIds, audit
from vltool.splits.near_duplicates import near_duplicates

EXAMPLES: Any = {"vqa": {"train": [("coco:1",), ("coco:2",)]}, "grounding": {"test": [("flickr30k:7",), ("coco:3",)]}}


def test_pictures_under_two_names_are_found_by_their_hashes() -> None:
    perceptual = {"coco:1": "ff00ff00ff00ff00", "flickr30k:7": "ff00ff00ff00ff07", "coco:3": "0000000000000000"}
    files = {"coco:2": "ab" * 32, "coco:3": "AB" * 32, "coco:1": "cd" * 32}
    found = audit(EXAMPLES, hashes=[perceptual, files])  # type: ignore[list-item]
    assert found["near_duplicates"] == [
        {"a": "coco:2", "b": "coco:3", "distance": 0},
        {"a": "coco:1", "b": "flickr30k:7", "distance": 3},
    ]
    assert not found["clean"]
    assert all(row["images"] == 0 for row in found["pairs"])
    assert audit(EXAMPLES, hashes=[perceptual], max_distance=2)["clean"]  # type: ignore[list-item]


def test_a_picture_is_no_duplicate_of_itself() -> None:
    assert near_duplicates(["a"], ["a"], {"a": "00"}) == []  # type: ignore[list-item, dict-item]


hashes = st.integers(0, 2**16 - 1).map("{:04x}".format)
tables = st.dictionaries(
    st.integers(0, 40).map("x:{}".format), hashes | st.integers(0, 3).map("{:04x}".format), max_size=25
)


@settings(max_examples=150, deadline=None)
@given(tables, st.integers(0, 8), st.integers(0, 40))
def test_bands_find_every_pair_that_comparing_all_finds(table: dict[str, str], distance: int, cut: int) -> None:
    names = sorted(table)
    train, evaluated = names[:cut], names[cut // 2 :]
    expected = [(a, b, (int(table[a], 16) ^ int(table[b], 16)).bit_count()) for a in train for b in evaluated if a != b]
    found = near_duplicates(train, evaluated, table, max_distance=distance)  # type: ignore[arg-type]
    assert sorted((row["a"], row["b"], row["distance"]) for row in found) == sorted(
        p for p in expected if p[2] <= distance
    )
    assert [row["distance"] for row in found] == sorted(row["distance"] for row in found)


def test_long_hashes_are_compared_in_full() -> None:
    table = {"a": "0" * 31 + "1", "b": "8" + "0" * 31}
    assert near_duplicates(["a"], ["b"], table, max_distance=2)[0]["distance"] == 2  # type: ignore[list-item, arg-type]


@pytest.mark.parametrize("wrong", ["", "xyz", "-1", "0x1f", "1_0", 17])
def test_a_hash_that_is_none_is_named(wrong: Any) -> None:
    with pytest.raises(DataError, match="hash of 'a': expected hexadecimal"):
        near_duplicates(["a"], ["b"], {"a": wrong, "b": "00"})  # type: ignore[list-item, dict-item]
    with pytest.raises(DataError, match="expected a distance"):
        near_duplicates([], [], {}, max_distance=-1)


def test_trained_ids_tell_what_they_meet() -> None:
    found = TrainedIds.build({"vqa": ["coco:10", "coco:9"], "grounding": ["flickr30k:7", "coco:9"]})  # type: ignore[list-item]
    assert found.meets(["coco:9", "flickr30k:7", "coco:9", "coco:8"]) == ["coco:9", "flickr30k:7"]  # type: ignore[list-item]
    assert found.tasks_that_met(["coco:10", "coco:8"]) == {"vqa": 1}  # type: ignore[list-item]
    assert found.meets([]) == []


names = st.one_of(
    st.integers(0, 10**12).map("coco:{}".format),
    st.integers(0, 99).map("vg:{:03}".format),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.sampled_from(["", ":", "coco:", ":3", "coco:007", "coco:7", "coco:-1", "a:b:3", "coco:³"]),
)


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=5), st.sets(names, max_size=30), max_size=3
    )
)
def test_trained_ids_survive_json(by_task: dict[str, set[Any]]) -> None:
    found = TrainedIds.build(by_task)
    again = TrainedIds.from_json(json.loads(json.dumps(found.to_json())))
    assert again.by_task == {task: frozenset(ids) for task, ids in by_task.items()}


def test_trained_ids_of_coco_are_small() -> None:
    found = TrainedIds.build({"vqa": [f"coco:{7 * number + number % 5}" for number in range(82_783)]})  # type: ignore[misc]
    assert len(json.dumps(found.to_json())) < 120_000


@pytest.mark.parametrize(
    "content",
    [
        None,
        {},
        {"kind": "trained_ids"},
        {"kind": "trained_ids", "tasks": {"vqa": {"coco": {"numbers": "***"}}}},
        {"kind": "trained_ids", "tasks": {"vqa": {"coco": {"numbers": "AAAA"}}}},
        {"kind": "trained_ids", "tasks": {"vqa": {"coco": {"else": ""}}}},
        {"kind": "trained_ids", "tasks": {"vqa": ["coco:1"]}},
    ],
)
def test_a_damaged_record_of_trained_ids_is_refused(content: object) -> None:
    with pytest.raises(CheckpointError, match="trained_ids"):
        TrainedIds.from_json(content)


def test_a_training_on_anothers_weights_inherits_what_trained_them() -> None:
    first = TrainedIds.build({"vqa": ["coco:1"], "grounding": ["flickr30k:7"]})  # type: ignore[list-item]
    second = TrainedIds.build({"vqa": ["coco:2"], "nlvr2": ["file:a"]})  # type: ignore[list-item]
    both = second.union(first)
    assert both.by_task == {"vqa": {"coco:1", "coco:2"}, "nlvr2": {"file:a"}, "grounding": {"flickr30k:7"}}
    assert both.meets(["coco:1"]) == ["coco:1"]  # type: ignore[list-item]
    assert second.union(TrainedIds({})) == second
