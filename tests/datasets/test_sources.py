"""Files that lie plain, in archives and in folders, and the errors where they do not."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import pytest

from vltool.datasets import flickr30k_entities, karpathy, vqa_v2
from vltool.datasets.id_lists import read_names
from vltool.datasets.sources import Folder, pick, read_bytes, read_json, read_text, require
from vltool.errors import DataError


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "many.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("Annotations/1.xml", "<a/>")
        opened.writestr("Sentences/1.txt", "one\r\n")
        opened.writestr("Sentences/2.txt", "two")
        opened.writestr("__MACOSX/Sentences/._2.txt", "junk")
    return path


def test_a_file_is_found_by_name_and_by_split(tmp_path: Path) -> None:
    files = {"train_ids": tmp_path / "a", "val_ids": tmp_path / "b"}
    assert pick(files, "ids", "val") == tmp_path / "b"
    assert pick(files, "captions", "val") is None
    with pytest.raises(DataError, match="for the splits train, val"):
        pick(files, "ids", "test")
    with pytest.raises(DataError, match=r"'captions' is missing \(given: train_ids, val_ids\)"):
        require(files, "captions")


def test_the_only_member_of_an_archive_is_read(tmp_path: Path) -> None:
    path = tmp_path / "one.zip"
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr("folder/questions.json", '{"a": 1}')
    assert read_json(path) == {"a": 1}
    assert read_json(path / "folder" / "questions.json") == {"a": 1}


def test_one_of_several_members_must_be_named(archive: Path) -> None:
    assert read_text(archive / "Sentences" / "1.txt") == "one\n"
    with pytest.raises(DataError, match=r"holds several files\. Name one as .*MEMBER; there are: Annotations/1\.xml"):
        read_bytes(archive)
    with pytest.raises(DataError, match=r"has no member 'Sentences/3\.txt'"):
        read_bytes(archive / "Sentences" / "3.txt")


def test_a_folder_may_be_an_archive(archive: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(tmp_path / "out")
    for place in (archive, archive / "Sentences", tmp_path / "out" / "Sentences"):
        folder = Folder(place, ".txt")
        assert folder.stems == ("1", "2") and folder.read("2") == b"two" and "3" not in folder
        with pytest.raises(DataError, match=r"3\.txt: no such file \(2 \*\.txt files there\)"):
            folder.read("3")
        folder.close()


def test_two_files_of_one_stem_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as opened:
        opened.writestr("a/1.txt", "")
        opened.writestr("b/1.txt", "")
    with pytest.raises(DataError, match=r"holds a/1\.txt and b/1\.txt"):
        Folder(tmp_path / "twice.zip", ".txt")


def test_what_cannot_be_read_is_a_data_error(tmp_path: Path, archive: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_bytes(tmp_path / "absent.json")
    with pytest.raises(DataError, match="cannot be read"):
        read_bytes(tmp_path)
    with pytest.raises(DataError, match="expected a folder"):
        Folder(tmp_path / "absent", ".txt")
    (tmp_path / "bad.zip").write_bytes(b"PK no archive")
    with pytest.raises(DataError, match=r"not a readable \.zip archive"):
        read_bytes(tmp_path / "bad.zip")
    content = bytearray(archive.read_bytes())
    content[45] ^= 0xFF  # inside the first member
    (tmp_path / "damaged.zip").write_bytes(content)
    with pytest.raises(DataError, match="cannot be unpacked"):
        read_bytes(tmp_path / "damaged.zip" / "Annotations" / "1.xml")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    with pytest.raises(DataError, match="not UTF-8 text"):
        read_text(tmp_path / "latin.txt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": [1, 2', "not JSON.*download complete"),
        (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
        (b"1" * 5000, "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"", "not JSON"),
    ],
)
def test_json_that_is_none_is_a_data_error(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"(?s)file\\.json: .*{message}"):
        read_json(path)


def test_a_split_that_chooses_nothing_and_a_file_of_no_use_are_errors(tmp_path: Path) -> None:
    files = {"questions": tmp_path / "q.json"}
    with pytest.raises(
        DataError, match=r"split 'val' chooses nothing: .*\(val_questions: …\), and given are questions"
    ):
        vqa_v2.read(files=files, split="val")
    with pytest.raises(DataError, match="files: 'anotations' is none of this reader's files: questions, annotations"):
        vqa_v2.read(files={**files, "anotations": tmp_path / "a.json"})
    with pytest.raises(DataError, match="'ids' is none of this reader's files: dataset"):
        karpathy.read(files={"dataset": tmp_path / "d.json", "ids": tmp_path / "ids.txt"})
    with pytest.raises(DataError, match="split 'train' chooses nothing"):
        flickr30k_entities.read(files={"sentences": tmp_path, "ids": tmp_path / "train.txt"}, split="train")


def test_gzipped_files_are_read_and_damaged_ones_named(tmp_path: Path) -> None:
    path = tmp_path / "list.json.gz"
    path.write_bytes(gzip.compress(b"\xef\xbb\xbf[1, 2]\r\n"))
    assert read_names(path) == [1, 2]
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"list.json.gz: cannot be unpacked"):
        read_json(path)
    (tmp_path / "all.tar.gz").write_bytes(gzip.compress(b""))
    with pytest.raises(DataError, match=r"all.tar.gz: tar archives are not read"):
        read_json(tmp_path / "all.tar.gz")


def test_a_listed_picture_without_a_sentence_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "1.txt").write_bytes(b"\r\n")
    with pytest.raises(DataError, match=r"1.txt: expected a sentence on every line, found none"):
        flickr30k_entities.read(files={"sentences": tmp_path})
