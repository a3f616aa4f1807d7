"""Pictures that a run shall not train on, whoever evaluates them: near-duplicates that an audit found, bad pictures.

    # near-duplicates that `vltool splits audit run.yaml` found
    vg:2415125
    file:holiday photo

One canonical id a line; lines that begin with # are remarks. What is evaluated stays as it is, so that scores can be
compared with those of others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from vltool.datasets.sources import read_text
from vltool.errors import ConfigError, DataError
from vltool.json_files import write_text
from vltool.structures import ImageId

_CANONICAL = re.compile(r"[^\s:]+:\S.*")
_FORM = "expected the id of a picture as in coco:42 or flickr30k:1000092795"


def read_excluded(exclude: str | Sequence[str]) -> frozenset[ImageId]:
    """The ids of `splits.exclude`: a list of them, or the path of a file that lists them.

    Raises ConfigError for a member of a list, DataError for a line of a file, that is no id.
    """
    if not isinstance(exclude, str):
        for text in exclude:
            if not _CANONICAL.fullmatch(text):
                raise ConfigError(f"splits.exclude: {_FORM}, found {text!r:.80}")
        return frozenset(map(ImageId, exclude))
    if not exclude:
        return frozenset()
    found = set()
    for number, line in enumerate(read_text(exclude).split("\n"), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if not _CANONICAL.fullmatch(text):
            raise DataError(f"{exclude}: line {number}: {_FORM}, found {text!r:.80}")
        found.add(ImageId(text))
    return frozenset(found)


def write_excluded(path: Path, image_ids: Iterable[ImageId], *, remark: str) -> int:
    """Add ids to the list in `path`, which is made if it is not there; gives how many were not in it yet."""
    known = read_excluded(str(path)) if path.exists() else frozenset()
    new = sorted(set(image_ids) - known)
    before = read_text(path) if path.exists() else ""
    if before and not before.endswith("\n"):
        before += "\n"
    if new:
        write_text(path, before + f"# {remark}\n" + "".join(f"{image_id}\n" for image_id in new))
    return len(new)
