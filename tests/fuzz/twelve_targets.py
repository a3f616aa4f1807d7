"""The readers of 12-in-1's datasets, of Conceptual Captions and of the lists that go with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.datasets import twelve_files
from tests.fuzz.target import Target, as_json, in_a_file, scratch
from vltool import plain_pickle
from vltool.datasets import (
    conceptual_captions,
    gqa,
    guesswhat,
    nlvr2,
    referring,
    snli_ve,
    visual7w,
    visual_genome,
    visual_genome_qa,
)
from vltool.features.formats.importing import read_sizes
from vltool.splits.excluded import read_excluded


def targets() -> dict[str, Target]:
    """Every target by name."""
    json_files: dict[str, tuple[Callable[[Path], Any], tuple[Any, ...]]] = {
        "gqa": (lambda path: gqa.read(files={"questions": path}), (twelve_files.GQA, twelve_files.GQA_SECRET)),
        "gqa_choices": (
            lambda path: gqa.read(files={"questions": beside("gqa.json", twelve_files.GQA), "choices": path}),
            (twelve_files.CHOICES,),
        ),
        "gqa_predictions": (gqa.read_predictions, ([{"questionId": "201", "prediction": "picture"}],)),
        "visual_genome_pictures": (visual_genome.read_pictures, (twelve_files.IMAGE_DATA,)),
        "visual_genome_qa": (lambda path: visual_genome_qa.read(files={"questions": path}), (twelve_files.VG_QA,)),
        "visual7w": (lambda path: visual7w.read(files={"dataset": path}), (twelve_files.VISUAL7W,)),
        "referring_instances": (
            lambda path: referring.read(files={"refs": pickled_refs(), "instances": path}),
            (twelve_files.INSTANCES,),
        ),
        "guesswhat": (
            lambda path: guesswhat.read(files={"games": path}),
            (twelve_files.GAME, twelve_files.GAME_OF_12_IN_1),
        ),
        "nlvr2": (lambda path: nlvr2.read(files={"statements": path}), (twelve_files.STATEMENT,)),
        "snli_ve": (lambda path: snli_ve.read(files={"pairs": path}), (twelve_files.PAIR,)),
        "picture_sizes": (read_sizes, ({"coco:7": [40, 60]},)),
    }
    return {
        **{
            name: Target(in_a_file(f"{name}.json", read), tuple(map(as_json, seeds)), "json")
            for name, (read, seeds) in json_files.items()
        },
        "referring": Target(
            in_a_file("refs(unc).p", lambda path: referring.read(files={"refs": path, "instances": instances()})),
            (plain_pickle.dumps(twelve_files.REFS),),
        ),
        "nlvr2_predictions": Target(
            in_a_file("predictions.csv", nlvr2.read_predictions),
            (b"identifier,prediction\ndev-850-2-0,True\ndev-850-2-1,False\n",),
            "text",
        ),
        "excluded_pictures": Target(
            in_a_file("exclude.txt", lambda path: read_excluded(str(path))), (b"# seen\ncoco:7\nflickr30k:8\n",), "text"
        ),
        "conceptual_captions": Target(
            in_a_file("training.tsv", lambda path: conceptual_captions.read(files={"captions": path})),
            (b"a life in pictures\thttps://host/1.jpg\na cat\thttps://host/2.jpg\n",),
            "text",
        ),
    }


def instances() -> Path:
    return beside("instances.json", twelve_files.INSTANCES)


def pickled_refs() -> Path:
    path = scratch() / "refs.p"
    if not path.exists():
        path.write_bytes(plain_pickle.dumps(twelve_files.REFS))
    return path


def beside(name: str, content: Any) -> Path:
    """A file that stays as it is, beside the one that is changed."""
    path = scratch() / f"whole-{name}"
    if not path.exists():
        path.write_bytes(as_json(content))
    return path
