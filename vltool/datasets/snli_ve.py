"""SNLI-VE: does a picture of Flickr30k entail a sentence? `snli_ve_{train,dev,test}.jsonl`, JSON lines.

    {"Flickr30K_ID": "2248275918", "pairID": "2248275918.jpg#2r1c", "captionID": "2248275918.jpg#2",
     "gold_label": "contradiction", "annotator_labels": ["contradiction"], "sentence1": "A toddler poses in front …",
     "sentence2": "A toddler sleeps outside.", …}

sentence2 is the hypothesis; sentence1, the caption that stood for the picture in SNLI, is not shown. The older spelling
`Flikr30kID` is read too. A gold label "-" says that the annotators did not agree. Format: necla-ml/SNLI-VE at e6cf745d.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from sys import intern
from typing import Any

from vltool.datasets import checks
from vltool.datasets.checks import Place
from vltool.datasets.id_lists import read_image_ids
from vltool.datasets.image_ids import ImageNamer
from vltool.datasets.records import EntailmentRecord
from vltool.datasets.sources import check_files, pick, require
from vltool.datasets.streams import json_lines

DEFAULT_IMAGE_ID = "flickr30k:{stem}"
LABELS = ("contradiction", "neutral", "entailment")
DISAGREED = "-"


def read(*, files: Mapping[str, Path], split: str = "", image_id: str = "") -> list[EntailmentRecord]:
    """The hypotheses, in the order of the file, those without a gold label too: their label is "".

    files: `pairs`, or one file a split (`dev_pairs`), and optionally `ids`, a list of the pictures to read. image_id:
    pattern of the pictures' ids (default: flickr30k:{stem}, Flickr30k's own). Raises DataError.
    """
    check_files(files, split, known=("pairs", "ids"))
    path = require(files, "pairs", split)
    pattern = image_id or DEFAULT_IMAGE_ID
    namer = ImageNamer(pattern)
    ids_at = pick(files, "ids", split)
    wanted = None if ids_at is None else set(read_image_ids(ids_at, image_id=pattern))
    records = []
    seen: set[str] = set()
    for number, value in json_lines(path):
        place = Place(path, "line", number)
        record = _pair(checks.record(value, place), place, namer)
        if record.pair_id in seen:
            place.fail("pairID", "an id of its own (another pair has it)", record.pair_id)
        seen.add(record.pair_id)
        if wanted is None or record.image_id in wanted:
            records.append(record)
    return records


def _pair(fields: Mapping[str, Any], place: Place, namer: ImageNamer) -> EntailmentRecord:
    field = "Flikr30kID" if "Flikr30kID" in fields else "Flickr30K_ID"
    label = checks.text(fields, "gold_label", place)
    if label not in (*LABELS, DISAGREED):
        place.fail("gold_label", f"one of {', '.join(LABELS)} or {DISAGREED}", label)
    return EntailmentRecord(
        pair_id=checks.text(fields, "pairID", place),
        image_id=namer(checks.text(fields, field, place), f"{place}.{field}"),
        hypothesis=checks.text(fields, "sentence2", place),
        label="" if label == DISAGREED else intern(label),
    )
