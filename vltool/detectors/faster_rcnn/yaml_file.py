"""A detectron2 YAML file as one flat mapping, the files it builds on included.

_BASE_: "Base-RCNN-C4.yaml"
MODEL:
  RESNETS: {DEPTH: 101}
  ROI_HEADS: {NUM_CLASSES: 1600}
"""

from __future__ import annotations

import ast
import os
from pathlib import Path
from typing import Any

import yaml

from vltool.errors import ConfigError


class _Loader(yaml.SafeLoader):
    """Safe YAML that also knows the tuples of old detectron2 dumps."""


def _construct_tuple(loader: yaml.SafeLoader, node: yaml.SequenceNode) -> list[Any]:
    return loader.construct_sequence(node, deep=True)


_Loader.add_constructor("tag:yaml.org,2002:python/tuple", _construct_tuple)


def load_yaml(path: Path, *, children: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The nested mapping of a YAML file laid over that of the parents named in its `_BASE_`."""
    path = Path(os.path.expanduser(path))
    if path.resolve() in children:
        raise ConfigError(f"{path}: _BASE_ leads back to this file: {' -> '.join(map(str, children))}")
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # a SafeLoader: builds no objects
    except OSError as error:
        named_by = f" (named by _BASE_ in {children[-1]})" if children else ""
        raise ConfigError(f"{path}: cannot read the detector configuration{named_by}: {error.strerror}") from error
    except yaml.constructor.ConstructorError as error:
        raise ConfigError(f"{path}: asks for Python code to be run, which vltool does not: {error.problem}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not a YAML file: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected a mapping like 'MODEL: ...', found {type(content).__name__}")
    check_names(content, path)
    parents = content.pop("_BASE_", [])
    merged: dict[str, Any] = {}
    for parent in parents if isinstance(parents, list) else [parents]:
        if not isinstance(parent, str):
            raise ConfigError(f"{path}: _BASE_ = {parents!r:.80}, expected the name of a file")
        if "://" in parent:
            raise ConfigError(
                f"{path}: _BASE_ = {parent!r}: vltool downloads nothing; save that file and name its path"
            )
        parent_path = path.parent / os.path.expanduser(parent)
        merged = overlay(merged, load_yaml(parent_path, children=(*children, path.resolve())))
    return overlay(merged, content)


def check_names(section: dict[Any, Any], path: Path, above: tuple[int, ...] = ()) -> None:
    """Raises ConfigError for a key that is no name, and for a section that contains itself."""
    if id(section) in above:
        raise ConfigError(f"{path}: a section contains itself, by a YAML anchor")
    for name, value in section.items():
        if not isinstance(name, str):
            raise ConfigError(f"{path}: {name!r:.80} = {value!r:.80}, expected keys that are names")
        if isinstance(value, dict):
            check_names(value, path, (*above, id(section)))


def overlay(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """`above` laid over `below`, section by section."""
    merged = dict(below)
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = overlay(merged[key], value)
        else:
            merged[key] = value
    return merged


def flatten(nested: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted keys of a nested mapping; strings that spell a Python literal, "(600,)", become that value."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, dict):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = literal(value)
    return flat


def literal(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return value
