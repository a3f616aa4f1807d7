"""Karpathy's splits: `dataset_coco.json`, `dataset_flickr8k.json`, `dataset_flickr30k.json`.

    {"dataset": "coco", "images": [
      {"filename": "COCO_train2014_000000037666.jpg", "filepath": "train2014", "cocoid": 37666, "imgid": 1,
       "split": "train", "sentids": [529320, …], "sentences": [
         {"raw": "A little child walking down …", "tokens": ["a", "little", …], "imgid": 1, "sentid": 529320}, …]}, …]}

COCO's pictures fall into train (82,783), val, test (5,000 each) and restval (30,504); many train on train+restval.
Format: cs.stanford.edu/people/karpathy/deepimagesent (Karpathy and Fei-Fei 2015).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vltool.datasets import checks
from vltool.datasets.checks import Place
from vltool.datasets.image_ids import ImageNamer
from vltool.datasets.records import CaptionRecord
from vltool.datasets.sources import check_files, read_json, require
from vltool.errors import DataError
from vltool.structures import ImageId

SPLITS = ("train", "restval", "val", "test")


def read(*, files: Mapping[str, Path], split: str = "", image_id: str = "") -> list[CaptionRecord]:
    """The captions of a split, picture by picture in the order of the file.

    files: `dataset`. split: train, val, test, restval, a sum of them (`train+restval`), or '' for all.
    image_id: pattern of the pictures' ids (default: coco:{number} for COCO, else {name}:{stem}). Raises DataError.
    """
    check_files(files, "", known=("dataset",))
    path = require(files, "dataset")
    content = checks.record(read_json(path), Place(path))
    wanted = _splits(split, path)
    namer = ImageNamer(image_id or _default_image_id(content, path))
    seen_images: set[ImageId] = set()
    seen_captions: set[int] = set()
    records = []
    for index, value in enumerate(checks.list_of(content, "images", Place(path))):
        place = Place(path, "images", index)
        fields = checks.record(value, place)
        name = _image_name(fields, place, namer)
        if name in seen_images:
            place.fail("filename", "a picture that is not listed before", fields["filename"])
        seen_images.add(name)
        captions = list(_captions(fields, place, name, seen_captions))
        if checks.text(fields, "split", place) not in SPLITS:
            place.fail("split", f"one of {', '.join(SPLITS)}", fields["split"])
        if fields["split"] in wanted:
            records += captions
    return records


def _splits(split: str, path: Path) -> tuple[str, ...]:
    wanted = tuple(split.split("+")) if split else SPLITS
    for part in wanted:
        if part not in SPLITS:
            raise DataError(f"{path}: no split {part!r}; choose of {', '.join(SPLITS)} or a sum such as train+restval")
    return wanted


def _default_image_id(content: Mapping[str, Any], path: Path) -> str:
    dataset = checks.text(content, "dataset", Place(path))
    return "coco:{number}" if dataset == "coco" else dataset.replace("{", "").replace("}", "") + ":{stem}"


def _image_name(fields: Mapping[str, Any], place: Place, namer: ImageNamer) -> ImageId:
    file_name = checks.text(fields, "filename", place)
    if "cocoid" in fields and not namer.uses_stem:
        return namer(checks.whole(fields, "cocoid", place))
    return namer(file_name, f"{place}.filename")


def _captions(fields: Mapping[str, Any], place: Place, name: ImageId, seen: set[int]) -> Iterator[CaptionRecord]:
    sentences = checks.list_of(fields, "sentences", place)
    found = []
    for index, value in enumerate(sentences):
        inner = Place(place.path, f"{place.list_name}[{place.number}].sentences", index)
        sentence = checks.record(value, inner)
        number = checks.whole(sentence, "sentid", inner)
        if number in seen:
            inner.fail("sentid", "an id of its own (another sentence has it)", number)
        seen.add(number)
        found.append(number)
        yield CaptionRecord(str(number), name, checks.text(sentence, "raw", inner))
    if "sentids" in fields and fields["sentids"] != found:
        place.fail("sentids", "the ids of the sentences, in their order", fields["sentids"])
