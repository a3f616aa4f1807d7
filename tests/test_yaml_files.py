"""A configuration that says only what differs from another, its base."""

from __future__ import annotations

from pathlib import Path

import pytest

from vltool.errors import ConfigError
from vltool.yaml_files import read_layers


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


def test_keys_are_laid_over_those_of_the_base_and_lists_take_their_place(tmp_path: Path) -> None:
    write(
        tmp_path,
        low="a: {b: 1, c: [1, 2]}\nd: 4\n",
        middle="base: low.yaml\na: {c: [3]}\n",
        high="base: middle.yaml\na: {e: {f: 5}}\nd: {g: 6}\n",
    )
    assert read_layers(tmp_path / "high.yaml") == {"a": {"b": 1, "c": [3], "e": {"f": 5}}, "d": {"g": 6}}
    assert read_layers(tmp_path / "low.yaml") == {"a": {"b": 1, "c": [1, 2]}, "d": 4}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("base: nowhere.yaml\n", "base: .*nowhere.yaml: no such configuration file"),
        ("base: own.yaml\n", "own.yaml is, by way of its own base, a base of itself"),
        ("base: other.yaml\n", "a base of itself"),
        ("base: [1]\n", r"expected the name of a configuration file, found \[1\]"),
        ("base: ''\n", "expected the name of a configuration file, found ''"),
    ],
)
def test_a_base_that_cannot_be_is_an_error(tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path, own=text, other="base: own.yaml\n")
    with pytest.raises(ConfigError, match=message):
        read_layers(tmp_path / "own.yaml")
