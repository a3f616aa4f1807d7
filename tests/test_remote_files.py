"""Files named by a URL: brought once, whole, anew when they change; what cannot be reached is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fsspec
import pytest

from vltool.config import from_dict
from vltool.errors import ConfigError, DataError
from vltool.remote_files import RemoteFile, bring, exists, here, is_url, list_files, put, version_of, with_slashes


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VLTOOL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def memory() -> Any:
    system = fsspec.filesystem("memory")
    system.store.clear()
    system.pipe({"/bucket/a/one.txt": b"one", "/bucket/a/b/two.txt": b"two two"})
    return system


def test_a_file_is_brought_once_and_again_when_it_has_changed(memory: Any) -> None:
    first = bring("memory://bucket/a/one.txt")
    assert first.name == "one.txt" and first.read_bytes() == b"one"
    assert bring("memory://bucket/a/one.txt") == first
    memory.pipe("/bucket/a/one.txt", b"ONE")
    again = bring("memory://bucket/a/one.txt")
    assert again != first and again.read_bytes() == b"ONE" and first.read_bytes() == b"one"


def test_a_folder_is_brought_with_all_that_is_in_it(memory: Any) -> None:
    folder = bring("memory://bucket/a")
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*.txt")) == ["b/two.txt", "one.txt"]
    before = version_of("memory://bucket/a")
    memory.pipe("/bucket/a/b/two.txt", b"changed")
    assert version_of("memory://bucket/a") != before
    assert [file.name for file in list_files("memory://bucket/a")] == ["two.txt", "one.txt"]


def test_an_object_whose_name_leads_out_of_its_folder_writes_nothing_there(memory: Any, cache: Path) -> None:
    memory.store["/bucket/a/../../../escaped.txt"] = memory.store["/bucket/a/one.txt"]  # any text is a key
    with pytest.raises(
        DataError, match=r"memory://bucket/a: the name '\.\./\.\./\.\./escaped\.txt' in it leads out of"
    ):
        bring("memory://bucket/a")
    assert not list(cache.parent.rglob("escaped.txt"))


def test_a_cache_that_cannot_be_written_to_is_named_with_the_way_out(memory: Any, cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    with pytest.raises(ConfigError, match=r"cannot be kept there: Not a directory\. .*VLTOOL_CACHE="):
        bring("memory://bucket/a/one.txt")


def test_what_signs_an_address_is_no_part_of_the_name() -> None:
    signed = RemoteFile("https://bucket.host/photos/000123.jpg?X-Amz-Signature=0.1/2&x=" + 300 * "a")
    assert (signed.name, signed.stem, signed.folder_name) == ("000123.jpg", "000123", "photos")
    assert RemoteFile("s3://bucket/what?.jpg").name == "what?.jpg"


def test_of_an_archive_a_member_is_named_in_the_copy(tmp_path: Path) -> None:
    (tmp_path / "all.zip").write_bytes(b"PK")
    found = bring(f"file://{tmp_path}/all.zip/Sentences/1.txt")
    assert found.parts[-3:] == ("all.zip", "Sentences", "1.txt") and found.parents[1].read_bytes() == b"PK"


def test_what_comes_short_is_refused_and_leaves_nothing(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    full = memory.info("/bucket/a/one.txt")
    monkeypatch.setattr(type(memory), "info", lambda self, path, **options: {**full, "size": 5})
    with pytest.raises(DataError, match="3 bytes of 5 came over"):
        bring("memory://bucket/a/one.txt")
    with pytest.raises(DataError, match="3 bytes of 5 came over"):
        RemoteFile("memory://bucket/a/one.txt").read_bytes()
    monkeypatch.undo()


def test_what_nobody_can_tell_from_an_older_one_is_refused(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"name": "/bucket/a/one.txt", "size": 3, "type": "file"}
    monkeypatch.setattr(type(memory), "info", lambda self, path, **options: known)
    with pytest.raises(DataError, match="neither an ETag nor a time of change"):
        bring("memory://bucket/a/one.txt")


@pytest.mark.parametrize("protocol", ["memory://bucket", "file://{tmp_path}"])
def test_a_file_is_put_whole_in_place_of_another(protocol: str, tmp_path: Path) -> None:
    url = protocol.format(tmp_path=tmp_path) + "/deep/er/there.bin"
    for content in (b"first", b"second"):
        (tmp_path / "own").write_bytes(content)
        put(tmp_path / "own", url)
        assert RemoteFile(url).read_bytes() == content
    assert len(list_files(url.rpartition("/")[0])) == 1
    assert exists(url) and not exists(url + "x")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("s3://bucket/x", "the protocol s3 needs a package: Install s3fs"),
        ("gs://bucket/x", "the protocol gs needs a package: .*gcsfs"),
        ("wow://x", "Protocol not known: wow. Known protocols: .*s3"),
        ("zip://a.txt::file:///b.zip", "URLs within URLs"),
    ],
)
def test_a_protocol_that_is_not_spoken_says_what_to_install(url: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        bring(url)


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(DataError, match="memory://bucket/none: no such file or folder"):
        bring("memory://bucket/none")


def test_urls_are_told_from_paths_also_when_a_path_has_taken_their_slashes(tmp_path: Path) -> None:
    assert [is_url(text) for text in ("s3://b/x", "a/b", "/a/b", "coco:1", "@s3://b")] == [True] + 4 * [False]
    assert is_url(Path("s3://b/x")) and with_slashes(Path("s3://b/x")) == "s3://b/x"
    (tmp_path / "x").write_bytes(b"x")
    assert here(Path(f"file://{tmp_path}/x")).read_bytes() == b"x"
    assert here("a/b") == Path("a/b")


@pytest.mark.parametrize(("key", "value"), [("out", "s3://b/run"), ("text", {"glove": "s3://b/glove.txt"})])
def test_a_url_where_a_folder_must_be_is_refused(key: str, value: object) -> None:
    raw: dict[str, Any] = {
        "name": "x",
        "out": "x",
        "tasks": {"vqa": {"train": [{"reader": "vqa_v2", "files": {}}], "val": []}},
    }
    with pytest.raises(ConfigError, match="a URL stands only for the store, the pictures to extract and the files"):
        from_dict({**raw, key: value})
