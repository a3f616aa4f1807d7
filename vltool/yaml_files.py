"""YAML files of keys and values, files that say only what differs from another, and `a.b=c` overrides.

base: paper_table1.yaml      # beside this file; its keys hold here too, save those that stand below
encoder: {options: {width: 512}}
"""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from vltool.errors import ConfigError


class _Loader(yaml.SafeLoader):
    """SafeLoader, save that a key that stands twice is an error and not the last one's."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key, _ in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else None
            if name is not None and name != "<<" and name in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {name!r} stands twice in one place", problem_mark=key.start_mark
                )
            seen.add(name)
        return super().construct_mapping(node, deep=deep)


def read_yaml(path: Path | str) -> dict[str, Any]:
    """The keys and values in a file. Raises ConfigError, also for a key that stands twice."""
    path = Path(path)
    try:
        raw = yaml.load(path.read_text(encoding="utf-8-sig"), _Loader)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such configuration file. Examples: pipelines/ and docs/data.md") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigError(f"{path}: not YAML: {error}") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: expected keys and values at the top level, found {type(raw).__name__}")
    return raw


def read_layers(path: Path | str) -> dict[str, Any]:
    """The keys and values in a file over those of its `base`, and of that one's: a file says only what differs.

    Keys are laid over keys, at any depth; lists and single values take the place of what was there. Raises ConfigError,
    also for files that are each other's base.
    """
    layers: list[dict[str, Any]] = []
    seen: list[Path] = []
    following: Path | None = Path(path)
    while following is not None:
        if following.resolve() in seen:
            raise ConfigError(f"{path}: base: {following.name} is, by way of its own base, a base of itself")
        seen.append(following.resolve())
        layer = read_yaml(following)
        base = layer.pop("base", None)
        if base is not None and (not isinstance(base, str) or not base):
            raise ConfigError(f"{following}: base: expected the name of a configuration file, found {base!r}")
        if base is not None and not (following.parent / base).is_file():
            raise ConfigError(f"{following}: base: {following.parent / base}: no such configuration file")
        layers.append(layer)
        following = None if base is None else following.parent / base
    found: dict[str, Any] = {}
    for layer in reversed(layers):
        _lay_over(found, layer)
    return found


def _lay_over(below: dict[str, Any], above: dict[str, Any]) -> None:
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(below.get(key), dict):
            _lay_over(below[key], value)
        else:
            below[key] = value


def apply_override(raw: dict[str, Any], override: str) -> None:
    """Put `a.b=c` into nested plain values, c read as YAML. Raises ConfigError if it is not of that form."""
    key, sign, text = override.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not sign or not all(parts):
        raise ConfigError(f"--set {override}: expected KEY=VALUE with dots in nested keys, as in training.seed=1")
    try:
        value = yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"--set {override}: the value is not YAML: {error}") from error
    place: Any = raw
    for part in parts[:-1]:
        if isinstance(place, dict) and place.get(part) is None:
            place[part] = {}
        place = _step(place, part, override)
    if isinstance(place, list):
        place[_index(place, parts[-1], override)] = value
    elif isinstance(place, dict):
        place[parts[-1]] = value
    else:
        raise ConfigError(f"--set {override}: {'.'.join(parts[:-1])} holds a single value, not keys")


def _step(place: Any, part: str, override: str) -> Any:
    if isinstance(place, list):
        return place[_index(place, part, override)]
    if isinstance(place, dict):
        return place[part]
    raise ConfigError(f"--set {override}: {part!r} stands inside a single value")


def _index(place: list[Any], part: str, override: str) -> int:
    if not part.isdigit() or int(part) >= len(place):
        raise ConfigError(f"--set {override}: {part!r} is not a position in a list of {len(place)}")
    return int(part)
