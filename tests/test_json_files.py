"""Files appear whole or not at all, and drafts of killed processes do not stay."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vltool.errors import ConfigError
from vltool.json_files import check_place, read_json, whole_file, write_json


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


def test_a_pipe_or_a_folder_is_never_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    (tmp_path / "folder").mkdir()
    for name, reason in (("pipe", "not a regular file"), ("link", "not a regular file"), ("folder", "a folder")):
        with pytest.raises(ConfigError, match=f"{name}: {reason}"):
            write_json(tmp_path / name, 1)
    assert (tmp_path / "pipe").is_fifo() and (tmp_path / "link").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "link", "pipe"]
    with pytest.raises(ConfigError, match="Give the name of a file"):
        write_json("", 1)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files have no names here")
def test_the_name_of_an_open_file_is_no_place_to_write(tmp_path: Path) -> None:
    with (tmp_path / "open").open("w") as file:
        (tmp_path / "stdout").symlink_to(f"/proc/self/fd/{file.fileno()}")  # as /dev/stdout is one
        for path in (tmp_path / "stdout", Path(f"/proc/self/fd/{file.fileno()}")):
            with pytest.raises(ConfigError, match="the name of an open file"):
                write_json(path, 1)
    assert (tmp_path / "stdout").is_symlink()


def test_an_error_names_the_file_and_not_its_draft(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 250)  # which may be a name, but the draft's is too long
    with pytest.raises(OSError) as caught:
        write_json(path, 1)
    assert caught.value.filename == str(path)


def test_a_place_is_checked_up_to_the_folder_that_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_place(tmp_path / "new" / "folders" / "a.json")
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    check_place(tmp_path / "file")
    with pytest.raises(ConfigError, match=f"--out {tmp_path}/file/a.json: {tmp_path}/file is not a folder"):
        check_place(tmp_path / "file" / "a.json", option="--out")
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)  # root may write to any folder
    with pytest.raises(ConfigError, match=f"--out {tmp_path}/a.json: the folder {tmp_path} cannot be written to"):
        check_place(tmp_path / "a.json", option="--out")
