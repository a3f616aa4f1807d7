"""NLVR2: statements about two photographs, true or false; `train.json`, `dev.json`, `test1.json`, JSON lines.

    {"identifier": "dev-850-0-0", "sentence": "The right image shows …", "label": "False", "left_url": …,
     "right_url": …, "synset": "beer bottle", "query": …, "validation": {"61": "False"}, "writer": "61", …}

identifier: split, set, pair, sentence. The pictures of a pair are dev-850-0-img0.png (left) and dev-850-0-img1.png; the
pairs of a set share its sentences: consistency counts the sentences that are right for all of their pairs. Predictions:
one `identifier,prediction` a line. Format: lil-lab/nlvr, nlvr2 at 18924841.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vltool.datasets import checks
from vltool.datasets.checks import Place, shown
from vltool.datasets.image_ids import ImageNamer
from vltool.datasets.records import PairStatement
from vltool.datasets.sources import check_files, require
from vltool.datasets.streams import json_lines, lines
from vltool.errors import DataError

DEFAULT_IMAGE_ID = "nlvr2:{stem}"
LABELS = {"true": True, "false": False}
_IDENTIFIER = re.compile(r"([^\s,-]+)-([^\s,-]+)-([^\s,-]+)-([^\s,-]+)")


def read(*, files: Mapping[str, Path], split: str = "", image_id: str = "") -> list[PairStatement]:
    """The statements, in the order of the file; without a label where the file has none.

    files: `statements`, or one file a split (`dev_statements`). image_id: pattern of the pictures' ids (default:
    nlvr2:{stem}, as in nlvr2:dev-850-0-img1). Raises DataError.
    """
    check_files(files, split, known=("statements",))
    path = require(files, "statements", split)
    namer = ImageNamer(image_id or DEFAULT_IMAGE_ID)
    records = []
    seen: set[str] = set()
    for number, value in json_lines(path):
        place = Place(path, "line", number)
        record = _statement(checks.record(value, place), place, namer)
        if record.identifier in seen:
            place.fail("identifier", "one of its own (another statement has it)", record.identifier)
        seen.add(record.identifier)
        records.append(record)
    return records


def read_predictions(path: Path | str) -> dict[str, bool]:
    """Predictions by identifier, of `identifier,prediction` lines. Raises DataError."""
    found: dict[str, bool] = {}
    for number, line in lines(path):
        parts = [part.strip() for part in line.split(",")]
        if number == 1 and parts == ["identifier", "prediction"]:
            continue
        if len(parts) != 2 or parts[1].lower() not in LABELS:
            raise DataError(f"{path}: line {number}: expected identifier,True or identifier,False, found {shown(line)}")
        if parts[0] in found:
            raise DataError(f"{path}: line {number}: {shown(parts[0])} is predicted twice")
        found[parts[0]] = LABELS[parts[1].lower()]
    return found


def _statement(fields: Mapping[str, Any], place: Place, namer: ImageNamer) -> PairStatement:
    identifier = checks.text(fields, "identifier", place)
    parts = _IDENTIFIER.fullmatch(identifier)
    if parts is None:
        place.fail("identifier", "split-set-pair-sentence, as in dev-850-0-0", identifier)
    label = None
    if "label" in fields:
        label = LABELS.get(checks.text(fields, "label", place).lower())
        if label is None:
            place.fail("label", "True or False", fields["label"])
    split, group, pair, sentence = parts.groups()
    left, right = (namer(f"{split}-{group}-{pair}-img{side}.png", place) for side in (0, 1))
    if left == right:
        place.fail("identifier", f"two pictures by the pattern {namer.pattern!r}", identifier)
    return PairStatement(
        identifier, left, right, checks.text(fields, "sentence", place), f"{split}-{group}--{sentence}", label
    )
