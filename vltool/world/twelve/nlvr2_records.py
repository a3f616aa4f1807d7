"""The generated world as NLVR2 writes it: a statement and two pictures, true or false.

One line of `dev.json`:

    {"validation": {"0": "True"}, "sentence": "The left image shows a red star.", "left_url": "…", "writer": "0",
     "label": "True", "right_url": "…", "synset": "star", "query": "stars", "identifier": "dev-3-1-0",
     "extra_validations": {}}

identifier: split, set, pair, sentence; the pair's pictures are dev-3-1-img0.png (left) and dev-3-1-img1.png. A set has
four pairs of pictures, and each of its sentences is true of two of them and false of two: a sentence alone tells
nothing. As in the original the pictures are JPEG data under the suffix .png, and those of the training set lie in
numbered folders that the records name ("directory"). Format: lil-lab/nlvr, nlvr2/README.md.
"""

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from vltool.world.phrases import noun
from vltool.world.queries import View
from vltool.world.scene import Scene
from vltool.world.twelve.pair_statements import FORMS, Statement, is_true, statements

_STREAM = 21  # third word of the random seed
_SPLIT_ORDER = ("train", "dev", "test1")
_DIRECTORY_SIZE = 100  # sets of the training split in a numbered folder
_TRIES = 40  # statements of a form that are tried before another form is


def picture_path(split: str, group: int, pair: int, side: int) -> PurePosixPath:
    """Where a picture lies below the folder of pictures: train/0/train-3-1-img0.png, dev/dev-3-1-img0.png."""
    name = f"{split}-{group}-{pair}-img{side}.png"
    return PurePosixPath(split, str(group // _DIRECTORY_SIZE), name) if split == "train" else PurePosixPath(split, name)


def records(
    split: str, sets: Sequence[Sequence[tuple[Scene, Scene]]], *, per_set: int, seed: int
) -> list[dict[str, Any]]:
    """The statements of a split: so many sentences a set, each about all of its pairs of pictures."""
    found = []
    for group, pairs in enumerate(sets):
        rng = np.random.default_rng([seed, group, _STREAM, _SPLIT_ORDER.index(split)])
        views = [(View(left), View(right)) for left, right in pairs]
        for sentence, statement in enumerate(_choose(views, per_set, rng)):
            wordings = FORMS[statement.form].word(statement)
            text = wordings[int(rng.integers(len(wordings)))]
            found += [
                _record(split, group, pair, sentence, text, statement, truth=is_true(statement, *views[pair]))
                for pair in range(len(pairs))
            ]
    return found


def _choose(pairs: Sequence[tuple[View, View]], wanted: int, rng: np.random.Generator) -> list[Statement]:
    """Different statements, each true of one half of the pairs."""
    weights = np.array([form.share for form in FORMS.values()])
    chosen: dict[Statement, None] = {}
    for _ in range(6 * wanted):
        if len(chosen) == wanted:
            break
        form = list(FORMS)[int(rng.choice(len(FORMS), p=weights / weights.sum()))]
        everything = list(statements(form))
        for place in rng.permutation(len(everything))[:_TRIES].tolist():
            statement = everything[place]
            if 2 * sum(is_true(statement, left, right) for left, right in pairs) == len(pairs):
                chosen.setdefault(statement)
                break
    return list(chosen)


def _record(
    split: str, group: int, pair: int, sentence: int, text: str, statement: Statement, *, truth: bool
) -> dict[str, Any]:
    left, right = (f"images/{picture_path(split, group, pair, side)}" for side in (0, 1))
    thing = noun(statement.kind)
    record: dict[str, Any] = {
        "validation": {"0": str(truth)},
        "sentence": text,
        "left_url": left,
        "writer": "0",
        "label": str(truth),
        "right_url": right,
        "synset": thing,
        "query": noun(statement.kind, plural=True),
        "identifier": f"{split}-{group}-{pair}-{sentence}",
    }
    if split == "train":
        return {
            **{key: value for key, value in record.items() if key != "validation"},
            "directory": group // _DIRECTORY_SIZE,
        }
    return {**record, "extra_validations": {}}
