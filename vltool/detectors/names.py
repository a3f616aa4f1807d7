"""The names of a detector's classes and attributes, from the JSON file beside its weights.

{"classes": ["circle", "square"], "attributes": ["red", "blue"]}
"""

from __future__ import annotations

import json
from pathlib import Path

from vltool.errors import ConfigError


def check_names(
    path: str | Path | None, *, num_classes: int, num_attributes: int
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of classes and of attributes, in the order of the scores; () and () without a file."""
    if path is None:
        return (), ()
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        classes, attributes = tuple(content["classes"]), tuple(content.get("attributes", ()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f'{path}: cannot read class names: {error!r}. Expected {{"classes": [...], "attributes": [...]}}'
        ) from error
    for what, names, expected in (("classes", classes, num_classes), ("attributes", attributes, num_attributes)):
        if len(names) != expected and (names or what == "classes"):
            raise ConfigError(f"{path}: {len(names)} names of {what}, but the detector's configuration has {expected}")
    return classes, attributes
