"""Large files are read value by value, whatever their layout, and damage is named."""

from __future__ import annotations

import gzip
import json
import random
import zipfile
from pathlib import Path
from typing import Any

import pytest

from vltool.datasets import streams
from vltool.errors import DataError


def random_value(source: random.Random, depth: int = 3) -> Any:
    kind = source.randrange(7 if depth else 4)
    if kind < 4:
        return [source.randrange(-(10**6), 10**6), source.random(), None, 'ä\\"}],:{' + "x" * source.randrange(9)][kind]
    items = [random_value(source, depth - 1) for _ in range(source.randrange(4))]
    return items if kind < 6 else {str(k): item for k, item in enumerate(items)}


@pytest.mark.parametrize("chunk", [1, 2, 7, 4096])
@pytest.mark.parametrize("indent", [None, 1])
def test_members_are_those_of_json_whatever_is_read_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int, indent: int | None
) -> None:
    monkeypatch.setattr(streams, "_CHUNK", chunk)
    source = random.Random(chunk)
    for number in range(30):
        values = [random_value(source) for _ in range(source.randrange(5))]
        path = tmp_path / f"{number}.json"
        path.write_text(json.dumps(values, indent=indent, ensure_ascii=number % 2 == 0) + "\n", encoding="utf-8")
        assert list(streams.list_members(path)) == list(enumerate(values))
        named = {f"k{k}": value for k, value in enumerate(values)}
        path.write_text(json.dumps(named, indent=indent), encoding="utf-8")
        assert list(streams.object_members(path)) == list(named.items())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a": 1, "b": [1, 2', "not usable JSON.*is the download complete"),
        ('{"a": 1 "b": 2}', "expected ','"),
        ('{"a": 1, "a": 2}', "expected a key of its own for each of an object of questions, found 'a'"),
        ("{1: 2}", "expected a key of its own"),
        ("[1]", "expected an object of questions"),
        ("", "expected an object of questions"),
        ('{"a": 1} {', "expected nothing after"),
        ('{"a": ' + "[" * 200_000, "nested too deeply"),
    ],
)
def test_damage_is_named(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "questions.json"
    path.write_text(content)
    with pytest.raises(DataError, match=rf"questions.json: .*{message}"):
        list(streams.object_members(path, what="questions"))


def test_packed_files_are_read_as_plain_ones(tmp_path: Path) -> None:
    text = '{"n": 1}\n\n{"n": 2}\r\n'
    (tmp_path / "a.jsonl").write_text(text)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("folder/a.jsonl", text)
    for path in ("a.jsonl", "a.jsonl.gz", "a.zip", "a.zip/folder/a.jsonl"):
        assert list(streams.json_lines(tmp_path / path)) == [(1, {"n": 1}), (3, {"n": 2})]


def test_a_line_that_is_not_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"n": 1}\n{"n": ')
    with pytest.raises(DataError, match=r"a.jsonl: line 2: not JSON"):
        list(streams.json_lines(tmp_path / "a.jsonl"))
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(b'{"n": 1}\n' * 1000)[:-20])
    with pytest.raises(DataError, match=r"cut.jsonl.gz: cannot be read"):
        list(streams.json_lines(tmp_path / "cut.jsonl.gz"))
    with pytest.raises(DataError, match=r"none.jsonl: no such file"):
        list(streams.json_lines(tmp_path / "none.jsonl"))
