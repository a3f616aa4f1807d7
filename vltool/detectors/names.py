"""The names of a detector's classes and attributes, from files beside its weights.

classes.json: {"classes": ["circle", "square"], "attributes": ["red", "blue"]}
objects_vocab.txt and attributes_vocab.txt, as published for Visual Genome: a name a line, synonyms after a comma.
VG-SGG-dicts-vgoi6-clipped.json, as published for VinVL: {"label_to_idx": {"yolk": 1}, "attribute_to_idx": {...}, ...}
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vltool.errors import ConfigError

NAMES_FILE = "classes.json"
LABELS_FILE = "VG-SGG-dicts-vgoi6-clipped.json"
OBJECTS_FILE, ATTRIBUTES_FILE = "objects_vocab.txt", "attributes_vocab.txt"


def names_beside(folder: Path) -> Path | None:
    """The file of names in a folder, if there is one."""
    return next((folder / name for name in (NAMES_FILE, OBJECTS_FILE, LABELS_FILE) if (folder / name).is_file()), None)


def check_names(
    path: str | Path | None, *, num_classes: int, num_attributes: int
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of classes and of attributes, in the order of the scores; () and () without a file.

    A `.txt` file names the classes, and `attributes_vocab.txt` beside it the attributes.
    """
    if path is None:
        return (), ()
    try:
        if Path(path).suffix == ".txt":
            classes, attributes = read_lines(Path(path)), tuple[str, ...]()
            beside = Path(path).with_name(ATTRIBUTES_FILE)
            if num_attributes and beside.is_file():
                attributes = read_lines(beside)
        else:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            if "label_to_idx" in content:
                content = {
                    "classes": numbered(content, "label_to_idx"),
                    "attributes": numbered(content, "attribute_to_idx"),
                }
            classes, attributes = tuple(content["classes"]), tuple(content.get("attributes", ()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f'{path}: cannot read class names: {error!r}. Expected {{"classes": [...], "attributes": [...]}}'
        ) from error
    for what, names, expected in (("classes", classes, num_classes), ("attributes", attributes, num_attributes)):
        if len(names) != expected and (names or what == "classes"):
            raise ConfigError(f"{path}: {len(names)} names of {what}, but the detector's configuration has {expected}")
    return classes, attributes


def numbered(content: dict[str, Any], key: str) -> list[str]:
    """The names of a map from names to numbers, by number; 0 is the background. Raises ValueError for gaps."""
    names = {int(number): name for name, number in content.get(key, {}).items() if int(number) > 0}
    if sorted(names) != list(range(1, len(names) + 1)):
        raise ValueError(f"{key} numbers {len(names)} names, expected 1 to {len(names)}")
    return [names[number] for number in sorted(names)]


def read_lines(path: Path) -> tuple[str, ...]:
    """The first name of every line."""
    return tuple(line.split(",")[0].strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
