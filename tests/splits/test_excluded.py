"""The list of pictures that no task trains on."""

from __future__ import annotations

from pathlib import Path

import pytest

from vltool.errors import ConfigError, DataError
from vltool.splits.excluded import read_excluded, write_excluded
from vltool.structures import ImageId


def test_ids_from_the_configuration_and_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(b"\xef\xbb\xbf# near-duplicates\r\nvg:7\r\n\r\nfile:holiday photo #2\r\n")
    assert read_excluded(str(path)) == {"vg:7", "file:holiday photo #2"}
    assert read_excluded(("coco:1", "coco:1")) == {"coco:1"}
    assert read_excluded(()) == read_excluded("") == frozenset()


def test_what_is_no_id_is_an_error_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("coco:1\n000000000042.jpg\n")
    with pytest.raises(DataError, match=r"list.txt: line 2: expected the id of a picture as in coco:42"):
        read_excluded(str(path))
    with pytest.raises(ConfigError, match=r"splits.exclude: expected the id.*found '42'"):
        read_excluded(("42",))
    with pytest.raises(DataError, match=r"none.txt: no such file"):
        read_excluded(str(tmp_path / "none.txt"))


def test_a_list_grows_and_keeps_its_remarks(tmp_path: Path) -> None:
    path = tmp_path / "new" / "list.txt"
    assert write_excluded(path, [ImageId("b:2"), ImageId("a:1")], remark="first") == 2
    assert write_excluded(path, [ImageId("a:1"), ImageId("c:3")], remark="second") == 1
    assert path.read_text() == "# first\na:1\nb:2\n# second\nc:3\n"
