"""What the official files say of themselves, and how much is in them as published.

    "data_subtype": "val2014"                         VQA v2, questions and annotations
    "dataset": "coco"                                 Karpathy's splits
    "file_name": "COCO_val2014_000000391895.jpg"      COCO's captions
    refcoco+/refs(unc).p, nlvr2/dev.json, …           those of 12-in-1: their official names

Counts: Nguyen and Okatani 2019, section 5.1 (VQA, COCO, Flickr30k); Karpathy and Fei-Fei 2015 (the splits); COCO's and
visualqa.org's download pages (captions, test-dev). Yu et al. 2016 and 2018 (expressions of RefCOCO, RefCOCO+, RefCOCOg:
142,210, 141,564, 95,010 in all); Zhu et al. 2016 (Visual7W: 188,068 questions answered by pointing); Suhr et al. 2019
(NLVR2); the download pages of GQA and Conceptual Captions; Xie et al. 2019 (SNLI-VE has Flickr30k's splits). Visual
Genome's questions have versions of different sizes, and GuessWhat?! is published in total only: neither is compared.
"""

from __future__ import annotations

import gzip
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

_HEAD = 65536
_FIELDS = {
    "data_subtype": re.compile(rb'"data_subtype"\s*:\s*"([\w-]+)"'),
    "dataset": re.compile(rb'"dataset"\s*:\s*"(\w+)"'),
    "file_name": re.compile(rb'"file_name"\s*:\s*"COCO_(\w+?)_\d+'),
}
KARPATHY = {
    "coco": {"train": 82_783, "restval": 30_504, "val": 5_000, "test": 5_000},
    "flickr30k": {"train": 29_000, "val": 1_014, "test": 1_000},
    "flickr8k": {"train": 6_000, "val": 1_000, "test": 1_000},
}
QUESTIONS = {"train2014": 443_757, "val2014": 214_354, "test2015": 447_793, "test-dev2015": 107_394}
CAPTIONS = {"train2014": 82_783, "val2014": 40_504}
FLICKR30K = {"": 31_783, "train": 29_783, "val": 1_000, "test": 1_000}
REFERRING = {
    "refcoco": {"train": 120_624, "val": 10_834, "testA": 5_657, "testB": 5_095},
    "refcoco+": {"train": 120_191, "val": 10_758, "testA": 5_726, "testB": 4_889},
    "refcocog": {"train": 80_512, "val": 4_896, "test": 9_602},
}
REFERRING_FILES = {"refcoco": "refs(unc).p", "refcoco+": "refs(unc).p", "refcocog": "refs(umd).p"}
VISUAL7W = {"train": 93_813, "val": 36_990, "test": 57_265}
GQA = {
    "train_balanced_questions": 943_000,
    "val_balanced_questions": 132_062,
    "val_all_questions": 2_011_853,
    "testdev_balanced_questions": 12_578,
    "testdev_all_questions": 172_174,
    "train_all_questions": 14_305_356,
}
NLVR2 = {"train": 86_373, "dev": 6_982, "test1": 6_967}
SNLI_VE = {"snli_ve_train": 29_783, "snli_ve_dev": 1_000, "snli_ve_test": 1_000}
CONCEPTUAL_CAPTIONS = {"Train_GCC-training": 3_318_333, "Validation_GCC-1.1.0-Validation": 15_840}


@dataclass(frozen=True)
class Published:
    """What a whole official file holds: how many records or pictures, and which file it is."""

    name: str
    count: int
    what: str  # "records" or "pictures"


_Rule = Callable[[Mapping[str, Path], str], Published | None]


def published_of(reader: str, files: Mapping[str, Path], split: str) -> Published | None:
    """What is published of a reader's files, as they say of themselves; None where they are of no known dataset."""
    rule = _RULES.get(reader)
    return None if rule is None else rule(files, split)


def _karpathy(files: Mapping[str, Path], split: str) -> Published | None:
    dataset = _field(files.get("dataset"), "dataset")
    sizes = KARPATHY.get(dataset, {})
    parts = split.split("+") if split else list(sizes)
    if not sizes or any(part not in sizes for part in parts):
        return None
    return Published(f"Karpathy's {dataset} {split}".rstrip(), sum(sizes[part] for part in parts), "pictures")


def _questions(files: Mapping[str, Path], split: str) -> Published | None:
    subset = _field(files.get("questions"), "data_subtype")
    return Published(f"VQA v2 {subset}", QUESTIONS[subset], "records") if subset in QUESTIONS else None


def _captions(files: Mapping[str, Path], split: str) -> Published | None:
    subset = "" if "ids" in files else _field(files.get("captions"), "file_name")
    return Published(f"COCO captions {subset}", CAPTIONS[subset], "pictures") if subset in CAPTIONS else None


def _flickr30k(files: Mapping[str, Path], split: str) -> Published | None:
    listed = files.get("ids", files.get("split"))
    name = "" if listed is None else listed.stem
    return Published(f"Flickr30k {name}".rstrip(), FLICKR30K[name], "pictures") if name in FLICKR30K else None


def _referring(files: Mapping[str, Path], split: str) -> Published | None:
    refs = files.get("refs")
    dataset = refs.parent.name if refs else ""
    if refs is None or REFERRING_FILES.get(dataset) != refs.name:
        return None
    return _sum_of(REFERRING[dataset], split, name=dataset)


def _visual7w(files: Mapping[str, Path], split: str) -> Published | None:
    path = files.get("dataset")
    return _sum_of(VISUAL7W, split, name="Visual7W") if path and path.name == "dataset_v7w_pointing.json" else None


def _sum_of(sizes: Mapping[str, int], split: str, *, name: str) -> Published | None:
    parts = split.split("+") if split else list(sizes)
    if any(part not in sizes for part in parts):
        return None
    return Published(f"{name} {split}".rstrip(), sum(sizes[part] for part in parts), "records")


def _by_name(file: str, sizes: Mapping[str, int], *, name: str, what: str = "records") -> _Rule:
    """A rule for a dataset whose files are known by their names. file: which of the reader's."""

    def rule(files: Mapping[str, Path], split: str) -> Published | None:
        path = files.get(file, files.get(f"{split}_{file}"))
        stem = "" if path is None else path.name.split(".json")[0].removesuffix(".tsv")
        if "ids" in files or stem not in sizes:
            return None
        return Published(f"{name} {stem}", sizes[stem], what)

    return rule


_RULES: dict[str, _Rule] = {
    "karpathy": _karpathy,
    "vqa_v2": _questions,
    "coco_captions": _captions,
    "flickr30k_captions": _flickr30k,
    "flickr30k_entities": _flickr30k,
    "referring": _referring,
    "visual7w": _visual7w,
    "gqa": _by_name("questions", GQA, name="GQA"),
    "nlvr2": _by_name("statements", NLVR2, name="NLVR2"),
    "snli_ve": _by_name("pairs", SNLI_VE, name="SNLI-VE", what="pictures"),
    "conceptual_captions": _by_name("captions", CONCEPTUAL_CAPTIONS, name="Conceptual Captions"),
}


def _field(path: Path | None, name: str) -> str:
    """The value of one field near the beginning or the end of a file; "" if it is not there."""
    for part in _ends(path) if path is not None else ():
        found = _FIELDS[name].search(part)
        if found:
            return found[1].decode()
    return ""


def _ends(path: Path) -> list[bytes]:
    """The first and last bytes of a file; of one that is packed, the first."""
    try:
        if path.suffix.lower() == ".zip":
            with zipfile.ZipFile(path) as archive:
                names = [info.filename for info in archive.infolist() if not info.is_dir()]
                with archive.open(names[0]) as member:
                    return [member.read(_HEAD)] if len(names) == 1 else []
        if path.suffix.lower() == ".gz":
            with gzip.open(path) as unpacked:
                return [unpacked.read(_HEAD)]
        with path.open("rb") as file:
            head = file.read(_HEAD)
            file.seek(max(0, path.stat().st_size - _HEAD))
            return [head, file.read(_HEAD)]
    except (OSError, EOFError, zipfile.BadZipFile, IndexError):
        return []  # the reader says what is wrong with it
