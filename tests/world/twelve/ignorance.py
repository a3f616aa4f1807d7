"""What is reached on the twelve datasets without a picture: `python -m tests.world.twelve.ignorance WORLD`.

Of texts with labels, a lookup (the most frequent label of the same text in the training set, else of all) and naive
Bayes over words and pairs of words; of boxes, one of the candidates at random, and the best rule of size or place in
the list.
"""

from __future__ import annotations

import json
import math
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.world.twelve.reading import json_lines
from vltool import plain_pickle

Labelled = Sequence[tuple[str, str]]  # texts and labels
Choice = tuple[list[list[float]], int]  # boxes x y width height, and which of them is right


def by_lookup(train: Labelled, test: Labelled) -> float:
    """Percent right by the most frequent training label of the same text."""
    of_text: dict[str, Counter[str]] = defaultdict(Counter)
    overall: Counter[str] = Counter()
    for text, label in train:
        of_text[text][label] += 1
        overall[label] += 1
    right = [(of_text.get(text) or overall).most_common(1)[0][0] == label for text, label in test]
    return 100 * sum(right) / len(right)


def by_words(train: Labelled, test: Labelled) -> float:
    """Percent right by naive Bayes."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    labels: Counter[str] = Counter()
    for text, label in train:
        labels[label] += 1
        counts[label].update(_features(text))
    known = len({word for words in counts.values() for word in words})
    totals = {label: sum(words.values()) + known for label, words in counts.items()}

    def score(text: str, label: str) -> float:
        words = counts[label]
        return math.log(labels[label]) + sum(math.log((words[word] + 1) / totals[label]) for word in _features(text))

    right = [max(labels, key=lambda name: score(text, name)) == label for text, label in test]
    return 100 * sum(right) / len(right)


def _features(text: str) -> list[str]:
    words = text.lower().split()
    return [*words, *map(" ".join, pairwise(words))]


def by_chance(choices: Sequence[Choice]) -> float:
    """Percent right by pointing at random."""
    return 100 * sum(1 / len(boxes) for boxes, _ in choices) / len(choices)


def by_rule(choices: Sequence[Choice]) -> float:
    """Percent right by the best of a few rules that know no words: the first, last, largest, smallest box."""
    rules: list[Callable[[list[list[float]]], int]] = [
        lambda boxes: 0,
        lambda boxes: len(boxes) - 1,
        lambda boxes: max(range(len(boxes)), key=lambda row: boxes[row][2] * boxes[row][3]),
        lambda boxes: min(range(len(boxes)), key=lambda row: boxes[row][2] * boxes[row][3]),
    ]
    return max(100 * sum(rule(boxes) == answer for boxes, answer in choices) / len(choices) for rule in rules)


def labelled(world: Path) -> dict[str, tuple[Labelled, Labelled]]:
    """Training and evaluated texts with labels of the datasets that have some."""
    gqa = {
        split: [
            (question["question"], question["answer"])
            for question in _json(world / f"gqa/{split}_balanced_questions.json").values()
        ]
        for split in ("train", "val", "testdev")
    }
    pictures = {picture["id"]: picture["qas"] for picture in _json(world / "visual_genome/question_answers.json")}
    asked = {
        split: [
            (qa["question"], qa["answer"])
            for number in (world / f"visual_genome/{split}.txt").read_text().split()
            for qa in pictures[int(number)]
        ]
        for split in ("train", "val", "test")
    }
    nlvr2, snli_ve = (
        {split: [(record[text], record[label]) for record in json_lines(world / name.format(split))] for split in names}
        for name, text, label, names in (
            ("nlvr2/{}.json", "sentence", "label", ("train", "dev", "test1")),
            ("snli_ve/snli_ve_{}.jsonl", "sentence2", "gold_label", ("train", "dev", "test")),
        )
    )
    return {
        "GQA val": (gqa["train"], gqa["val"]),
        "GQA testdev": (gqa["train"], gqa["testdev"]),
        "Visual Genome QA test": (asked["train"], asked["test"]),
        "NLVR2 dev": (nlvr2["train"], nlvr2["dev"]),
        "NLVR2 test1": (nlvr2["train"], nlvr2["test1"]),
        "SNLI-VE test": (snli_ve["train"], snli_ve["test"]),
    }


def pointing(world: Path) -> dict[str, list[Choice]]:
    """The evaluated choices of the datasets that point at boxes."""
    found: dict[str, list[Choice]] = {}
    for dataset, by, splits in (
        ("refcoco", "unc", ("testA", "testB")),
        ("refcoco+", "unc", ("testA", "testB")),
        ("refcocog", "umd", ("test",)),
    ):
        of_picture: dict[int, dict[int, list[float]]] = defaultdict(dict)
        for entry in _json(world / dataset / "instances.json")["annotations"]:
            of_picture[entry["image_id"]][entry["id"]] = entry["bbox"]
        found[f"{dataset} {'+'.join(splits)}"] = [
            _choice(of_picture[ref["image_id"]], ref["ann_id"])
            for ref in plain_pickle.loads((world / dataset / f"refs({by}).p").read_bytes())
            if ref["split"] in splits
            for _ in ref["sentences"]
        ]
    file = _json(world / "visual7w/dataset_v7w_pointing.json")
    boxes = {box["box_id"]: [box[side] for side in ("x", "y", "width", "height")] for box in file["boxes"]}
    found["Visual7W test"] = [
        _choice({number: boxes[number] for number in [pair["answer"], *pair["multiple_choices"]]}, pair["answer"])
        for image in file["images"]
        if image["split"] == "test"
        for pair in image["qa_pairs"]
    ]
    found["GuessWhat test"] = [
        _choice({thing["id"]: thing["bbox"] for thing in game["objects"]}, game["object_id"])
        for game in json_lines(world / "guesswhat/guesswhat.test.jsonl.gz")
    ]
    return found


def _choice(boxes: dict[int, list[float]], answer: int) -> Choice:
    numbers = sorted(boxes)
    return [boxes[number] for number in numbers], numbers.index(answer)


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def report(world: Path) -> Iterable[str]:
    """A line a dataset."""
    for name, (train, test) in labelled(world).items():
        scores = f"lookup {by_lookup(train, test):.1f}, words {by_words(train, test):.1f}"
        yield f"{name}: {len(train):,} and {len(test):,} texts; {scores}"
    for name, choices in pointing(world).items():
        yield f"{name}: {len(choices):,} choices; chance {by_chance(choices):.1f}, best rule {by_rule(choices):.1f}"


if __name__ == "__main__":
    sys.stdout.write("\n".join([*report(Path(sys.argv[1])), ""]))
