"""Files appear whole or not at all, and drafts of killed processes do not stay."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vltool.json_files import read_json, whole_file, write_json


def test_drafts_of_processes_that_are_gone_are_swept_away(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    dead, alive = (tmp_path / f".a.json.{process}.writing" for process in (gone.pid, os.getppid()))
    others = tmp_path / f".b.json.{gone.pid}.writing"
    for draft in (dead, alive, others):
        draft.write_text("{")
    write_json(tmp_path / "a.json", {"ä": 1})
    assert read_json(tmp_path / "a.json") == {"ä": 1}
    assert not dead.exists() and alive.exists() and others.exists()


def test_an_error_while_writing_leaves_the_old_file_alone(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", 1)

    def write_half() -> None:
        with whole_file(tmp_path / "a.json") as file:
            file.write(b"2")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert read_json(tmp_path / "a.json") == 1 and len(list(tmp_path.iterdir())) == 1
