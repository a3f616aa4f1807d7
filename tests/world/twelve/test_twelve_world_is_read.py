"""The readers of the twelve datasets read what the world writes, all of it, and give shared pictures one id."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vltool.registry import READERS, resolve

VISUAL_GENOME = {"images": "visual_genome/image_data.json"}
FLICKR30K = "coco:{number}"  # Flickr30k's pictures are COCO's, under the same numbers


def read(world: Path, reader: str, files: dict[str, str], **options: str) -> list[Any]:
    paths = {name: world / path for name, path in files.items()}
    return list(resolve(READERS, reader, kind="reader")(files=paths, **options))


def sources(dataset: str, split: str) -> tuple[str, dict[str, str], dict[str, str]]:
    """The reader of a dataset, its files and its options, as a configuration names them."""
    questions = {"questions": "visual_genome/question_answers.json", "ids": f"visual_genome/{split}.txt"}
    return {
        "visual_genome_qa": ("visual_genome_qa", {**questions, **VISUAL_GENOME}, {}),
        "visual7w": ("visual7w", {"dataset": "visual7w/dataset_v7w_pointing.json", **VISUAL_GENOME}, {"split": split}),
        "gqa": ("gqa", {"questions": f"gqa/{split}_balanced_questions.json", **VISUAL_GENOME}, {}),
        "refcoco": ("referring", refs("refcoco", "unc"), {"split": split}),
        "refcoco+": ("referring", refs("refcoco+", "unc"), {"split": split}),
        "refcocog": ("referring", refs("refcocog", "umd"), {"split": split}),
        "guesswhat": ("guesswhat", {"games": f"guesswhat/guesswhat.{split}.jsonl.gz"}, {}),
        "nlvr2": ("nlvr2", {"statements": f"nlvr2/{split}.json"}, {}),
        "snli_ve": ("snli_ve", {"pairs": f"snli_ve/snli_ve_{split}.jsonl"}, {"image_id": FLICKR30K}),
        "conceptual_captions": ("conceptual_captions", {"captions": captions(split)}, {}),
    }[dataset]


def refs(dataset: str, by: str) -> dict[str, str]:
    return {"refs": f"{dataset}/refs({by}).p", "instances": f"{dataset}/instances.json"}


def captions(split: str) -> str:
    file = "Train_GCC-training.tsv" if split == "training" else "Validation_GCC-1.1.0-Validation.tsv"
    return f"conceptual_captions/{file}"


DATASETS = (
    *("visual_genome_qa", "visual7w", "gqa", "refcoco", "refcoco+", "refcocog"),
    *("guesswhat", "nlvr2", "snli_ve", "conceptual_captions"),
)


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_example_of_every_split_is_read(twelve_world: Path, content: Callable[[str], Any], dataset: str) -> None:
    for split, number in content("twelve.json")["counts"][dataset].items():
        reader, files, options = sources(dataset, split)
        assert len(read(twelve_world, reader, files, **options)) == number > 0


@pytest.mark.parametrize("split", ["val", "testdev"])
def test_all_gqa_questions_are_read_with_their_choices(twelve_world: Path, split: str) -> None:
    files = {"questions": f"gqa/{split}_all_questions.json", "choices": f"gqa/{split}_choices.json", **VISUAL_GENOME}
    records = read(twelve_world, "gqa", files)
    ids = {record.question_id for record in records}
    assert all(record.answer in record.plausible and set(record.entailed) <= ids for record in records)


def test_flickr30k_captions_are_read_by_entities_lists(twelve_world: Path) -> None:
    for split in ("train", "val", "test"):
        files = {"captions": "flickr30k/results_20130124.token", "ids": f"flickr30k_entities/{split}.txt"}
        records = read(twelve_world, "flickr30k_captions", files, image_id=FLICKR30K)
        listed = (twelve_world / f"flickr30k_entities/{split}.txt").read_text().split()
        assert len(records) == 5 * len(listed)


def test_training_sets_hold_pictures_that_other_datasets_evaluate(twelve_world: Path) -> None:
    def pictures(dataset: str, *splits: str) -> set[str]:
        found: set[str] = set()
        for split in splits:
            reader, files, options = sources(dataset, split)
            found |= {record.image_id for record in read(twelve_world, reader, files, **options)}
        return found

    evaluated = pictures("gqa", "val") | pictures("visual7w", "val", "test") | pictures("refcoco", "val", "testA")
    karpathy = {"dataset": "dataset_coco.json"}
    tested = {record.image_id for record in read(twelve_world, "karpathy", karpathy, split="test")}
    assert evaluated & {record.image_id for record in read(twelve_world, "karpathy", karpathy, split="train")}
    for dataset in ("visual_genome_qa", "visual7w", "gqa", "snli_ve"):
        train = pictures(dataset, "train")
        assert train & (evaluated | tested) and not train <= evaluated | tested, dataset
    assert not pictures("nlvr2", "train") & (evaluated | tested)
