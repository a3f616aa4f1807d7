"""NLVR2 and SNLI-VE of the generated world: statements checked from their words, and worth nothing without pictures."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.world.twelve.conftest import ARGUMENTS
from tests.world.twelve.reading import NUMBERS, json_lines, rows
from vltool.world.captions import write_captions
from vltool.world.scene import Scene
from vltool.world.splits import WorldArguments, plan_splits
from vltool.world.twelve.splits import TwelveSplits, plan_twelve_splits

Lines = Callable[[str], list[Any]]


def splits() -> TwelveSplits:
    subsets = plan_splits(WorldArguments(**ARGUMENTS)).subsets
    return plan_twelve_splits(
        train2014=subsets["train2014"],
        val2014=subsets["val2014"],
        first_free=subsets["test2015"][-1] + 1,
        num_val=ARGUMENTS["num_val"],
        num_test=ARGUMENTS["num_test"],
        seed=ARGUMENTS["seed"],
    )


RULES: list[tuple[str, Callable[..., bool]]] = [  # how many of the kind the left and the right picture have → true?
    (r"there (?:is|are) exactly (?P<number>\w+) (?P<kind>.+) in the (?P<side>left|right) image",
     lambda left, right, side, number: (left if side == "left" else right) == NUMBERS.index(number)),
    (r"there are more (?P<kind>.+) in the left image than in the right image", lambda left, right: left > right),
    (r"there are no (?P<kind>.+) in the (?P<side>left|right) image",
     lambda left, right, side: (left if side == "left" else right) == 0),
    (r"at least one image shows an? (?P<kind>.+)", lambda left, right: left > 0 or right > 0),
    (r"there is an? (?P<kind>.+) in one of the images", lambda left, right: left > 0 or right > 0),
    (r"(?:both images show|each image contains) an? (?P<kind>.+)", lambda left, right: left > 0 and right > 0),
    (r"only one of the two images shows an? (?P<kind>.+)", lambda left, right: (left > 0) + (right > 0) == 1),
    (r"there is an? (?P<kind>.+) in the (?:image on the )?(?P<side>left|right)(?: image)?",
     lambda left, right, side: (left if side == "left" else right) > 0),
    (r"the (?P<side>left|right) image shows an? (?P<kind>.+)",
     lambda left, right, side: (left if side == "left" else right) > 0),
]  # fmt: skip


def holds(sentence: str, left: Scene, right: Scene) -> bool:
    text = sentence.lower().removesuffix(".")
    rule, found = next((rule, match.groupdict()) for pattern, rule in RULES if (match := re.fullmatch(pattern, text)))
    kind = found.pop("kind")
    return rule(len(rows(left, kind)), len(rows(right, kind)), **found)


@pytest.mark.parametrize("split", ["train", "dev", "test1"])
def test_nlvr2_labels_are_the_truth(lines: Lines, scene_of: Callable[[int], Scene], split: str) -> None:
    pictures = splits().nlvr2[split]
    for record in lines(f"nlvr2/{split}.json"):
        name, group, pair, _ = record["identifier"].split("-")
        left, right = (scene_of(number) for number in pictures[int(group)][int(pair)])
        assert record["label"] == str(holds(record["sentence"], left, right)), record
        assert name == split


@pytest.mark.parametrize("split", ["train", "dev", "test1"])
def test_nlvr2_sentences_are_true_of_half_their_pairs(lines: Lines, split: str) -> None:
    labels = defaultdict(list)
    for record in lines(f"nlvr2/{split}.json"):
        group, _, sentence = record["identifier"].split("-")[1:]
        labels[group, sentence, record["sentence"]].append(record["label"])
    assert len(labels) >= 20 * len(splits().nlvr2[split]) / 2
    assert all(sorted(found) == ["False", "False", "True", "True"] for found in labels.values())


@pytest.mark.parametrize("name", ["dev", "test1"])
def test_nlvr2_has_the_official_keys(lines: Lines, shared_data: Path, name: str) -> None:
    official = json_lines(shared_data / f"twelve_in_one/nlvr2/{name}.json")
    assert lines(f"nlvr2/{name}.json")[0].keys() == official[0].keys()


def verdict(scene: Scene, hypothesis: str) -> str:
    match = re.fullmatch(r"the (.+) is (?:an? )?(\w+)\.", hypothesis.lower())
    assert match
    spoken_of, fitting = rows(scene, match[1]), rows(scene, f"{match[1]} {match[2]}")
    assert spoken_of
    if len(fitting) == len(spoken_of):
        return "entailment"
    return "neutral" if fitting else "contradiction"


@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_snli_ve_labels_are_what_the_picture_says(lines: Lines, scene_of: Callable[[int], Scene], split: str) -> None:
    records = lines(f"snli_ve/snli_ve_{split}.jsonl")
    assert len({record["pairID"] for record in records}) == len(records) > 60
    for record in records:
        scene = scene_of(int(record["Flickr30K_ID"]))
        assert verdict(scene, record["sentence2"]) == record["gold_label"], record
        assert set(record["annotator_labels"]) == {record["gold_label"]}
        row = int(record["captionID"].removeprefix(f"{scene.number}.jpg#"))
        assert record["sentence1"] == " ".join(write_captions(scene)[row].words)
        assert re.fullmatch(rf"{scene.number}\.jpg#{row}r\d+{record['gold_label'][0]}", record["pairID"])


@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_snli_ve_hypotheses_have_every_label_equally_often(lines: Lines, split: str) -> None:
    labels = defaultdict(Counter)  # type: ignore[var-annotated]
    for record in lines(f"snli_ve/snli_ve_{split}.jsonl"):
        labels[record["sentence2"]][record["gold_label"]] += 1
    for hypothesis, found in labels.items():
        assert len(found) == 3 and len(set(found.values())) == 1, hypothesis


def test_snli_ve_has_the_official_keys_and_parses(lines: Lines, shared_data: Path) -> None:
    (official, *_) = json_lines(shared_data / "twelve_in_one/snli_ve/snli_ve_sample.jsonl")
    for record in lines("snli_ve/snli_ve_dev.jsonl"):
        assert record.keys() == official.keys()
        for name in ("sentence1", "sentence2"):
            words = record[name].replace(".", " .").split()
            assert re.findall(r"[^() ]+", record[f"{name}_binary_parse"]) == words
            assert record[f"{name}_binary_parse"].count("(") == record[f"{name}_binary_parse"].count(")")
            assert re.findall(r"\(X ([^() ]+)\)", record[f"{name}_parse"]) == words
