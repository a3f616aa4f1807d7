"""Who may train on what: against plain loops over all pairs, and the paper's two trainings."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vltool.errors import ConfigError, SplitError
from vltool.splits.audit import audit
from vltool.splits.protocol import PAPER, apply_protocol, clean, paper_training, refuse_scoring, train_on

Examples = dict[str, dict[str, list[tuple[Any, ...]]]]

image_ids = st.tuples(st.sampled_from("abcdefgh")) | st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("abcdefgh"))
all_examples = st.dictionaries(
    st.sampled_from(["vqa", "caption_retrieval", "grounding", "nlvr2"]),
    st.dictionaries(st.sampled_from(["train", "val", "test"]), st.lists(image_ids, max_size=6), max_size=3),
    max_size=4,
)

EXAMPLES: Examples = {
    "vqa": {"train": [("a",), ("a",), ("b",)], "val": [("c",)], "test": [("d",)]},
    "nlvr2": {"train": [("b", "e"), ("f", "c")], "test": [("a", "g")]},
}


def brute_force_pairs(examples: Examples) -> list[dict[str, Any]]:
    rows = []
    for train, splits in examples.items():
        for task, others in examples.items():
            for split in ("val", "test"):
                if split not in others:
                    continue
                images = {i for e in splits.get("train", []) for i in e for f in others[split] for j in f if i == j}
                touched = [e for e in splits.get("train", []) if any(i in f for i in e for f in others[split])]
                name = f"{task}/{split}"
                rows.append({"train": train, "evaluated": name, "images": len(images), "examples": len(touched)})
    return rows


def test_clean_leaves_out_what_any_task_evaluates() -> None:
    found = clean(EXAMPLES)
    assert found.kept == {"vqa": (2,), "nlvr2": (0,)}
    assert found.removed == {"vqa": 2, "nlvr2": 1}
    assert list(found.pairs) == [
        {"train": "vqa", "evaluated": "nlvr2/test", "images": 1, "examples": 2},
        {"train": "nlvr2", "evaluated": "vqa/val", "images": 1, "examples": 1},
    ]


@given(all_examples)
def test_clean_equals_a_plain_loop(examples: Examples) -> None:
    found = clean(examples)
    evaluated = [e for splits in examples.values() for split in ("val", "test") for e in splits.get(split, [])]
    for task, splits in examples.items():
        train = splits.get("train", [])
        expected = [k for k, e in enumerate(train) if not any(i in f for i in e for f in evaluated)]
        assert list(found.kept[task]) == expected
        assert found.removed[task] == len(train) - len(expected)
    assert list(found.pairs) == [row for row in brute_force_pairs(examples) if row["images"]]


@given(all_examples)
def test_audit_equals_a_brute_force_intersection(examples: Examples) -> None:
    found = audit(examples)
    key = lambda row: (row["train"], row["evaluated"])  # noqa: E731
    assert sorted(found["pairs"], key=key) == sorted(brute_force_pairs(examples), key=key)
    assert found["clean"] == all(row["images"] == 0 for row in found["pairs"])
    assert found["near_duplicates"] == []


@given(all_examples)
def test_what_clean_keeps_passes_the_audit(examples: Examples) -> None:
    kept = clean(examples).kept
    cleaned = {
        task: {**splits, "train": [splits.get("train", [])[k] for k in kept[task]]} for task, splits in examples.items()
    }
    assert audit(cleaned)["clean"]


def test_only_clean_leaves_anything_out_and_off_is_asked_for_by_name() -> None:
    assert apply_protocol("clean", EXAMPLES) == clean(EXAMPLES)
    for name in ("off", "paper"):
        found = apply_protocol(name, EXAMPLES)
        assert found.kept == {"vqa": (0, 1, 2), "nlvr2": (0, 1)} and found.removed == {"vqa": 0, "nlvr2": 0}
        assert found.pairs == clean(EXAMPLES).pairs
    for name in ("", "none", "Clean"):
        with pytest.raises(ConfigError, match="choose clean, paper, paper-i, paper-ii, off"):
            apply_protocol(name, EXAMPLES)


def test_the_two_trainings_of_the_paper() -> None:
    first, second = PAPER
    splits = dict.fromkeys(("caption_retrieval", "vqa", "grounding"), ("train", "val", "test"))
    assert set(train_on(first, splits).values()) == {("train",)}
    assert train_on(second, splits)["vqa"] == ("train", "val")
    assert second.scored == {("vqa", "test")} and ("vqa", "test") not in first.scored
    assert paper_training("ii") is second
    refuse_scoring(first, "grounding", "test")
    with pytest.raises(SplitError, match=r"training ii .* not to be scored on caption_retrieval/test"):
        refuse_scoring(second, "caption_retrieval", "test")
    with pytest.raises(ConfigError, match="choose i or ii"):
        paper_training("iii")
    with pytest.raises(ConfigError, match="says nothing of task 'nlvr2'"):
        train_on(first, {"nlvr2": ("train",)})
    with pytest.raises(ConfigError, match="needs split 'val' of task 'vqa'"):
        train_on(second, {"vqa": ("train",)})
