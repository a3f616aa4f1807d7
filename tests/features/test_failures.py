"""The list of pictures that failed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from vltool.errors import StoreError
from vltool.features.failures import Failures


def listed(store: Path) -> list[str]:
    return [json.loads(line)["path"] for line in Failures(store, tried=()).path.read_bytes().split(b"\n")[:-1]]


def test_odd_names_stay_listed(tmp_path: Path) -> None:
    names = ["line\u2028break", "next\x85line", os.fsdecode(b"bad\xff"), 'quo"te', "{}"]
    failures = Failures(tmp_path / "s.lmdb", tried=())
    for name in names:
        failures.add(Path(name), None, f"{name}: wrong")
    assert listed(tmp_path / "s.lmdb") == names
    Failures(tmp_path / "s.lmdb", tried={names[2]})
    assert listed(tmp_path / "s.lmdb") == names[:2] + names[3:]


def test_line_that_a_killed_process_left_unfinished_is_dropped(tmp_path: Path) -> None:
    failures = Failures(tmp_path / "s.lmdb", tried=())
    failures.add(Path("a.jpg"), "file:a", "wrong")
    with failures.path.open("a") as file:
        file.write('{"path": "b.jpg", "error": "{}')
    assert listed(tmp_path / "s.lmdb") == ["a.jpg"]


def test_full_disk_is_an_error_of_the_user(tmp_path: Path) -> None:
    failures = Failures(tmp_path / "s.lmdb", tried=())
    failures.path.unlink()
    failures.path.symlink_to("/dev/full")
    with pytest.raises(StoreError, match="cannot write the list of failures: No space left"):
        failures.add(Path("a"), None, "wrong")
