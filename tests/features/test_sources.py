"""Which files are read, what their pictures are called, and how they are shared out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vltool.errors import ConfigError, DataError
from vltool.features.sources import Picture, find_images, image_id_of, name_pictures, parse_shard, shard_of


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(path))


def test_folders_are_searched_in_order_and_hidden_or_other_files_left_out(tmp_path: Path) -> None:
    wanted = [tmp_path / "a.JPG", tmp_path / "b" / "a b é.png", tmp_path / "b" / "c" / "z.webp"]
    touch(*wanted, tmp_path / "notes.txt", tmp_path / ".hidden.jpg", tmp_path / ".git" / "x.png")
    assert find_images([tmp_path]) == wanted
    assert find_images([wanted[2], tmp_path, wanted[0]]) == [wanted[2], wanted[0], wanted[1]]


def test_a_named_file_is_read_whatever_its_suffix(tmp_path: Path) -> None:
    touch(tmp_path / "picture")
    assert find_images([tmp_path / "picture"]) == [tmp_path / "picture"]


def test_list_has_a_path_a_line_from_here_or_from_its_folder(tmp_path: Path) -> None:
    touch(tmp_path / "lists" / "near.jpg", tmp_path / "far.jpg")
    listed = tmp_path / "lists" / "list.txt"
    listed.write_text(f"near.jpg\n\n{tmp_path / 'far.jpg'}\nmissing.jpg\n")
    assert find_images([f"@{listed}"]) == [
        tmp_path / "lists" / "near.jpg",
        tmp_path / "far.jpg",
        Path("missing.jpg"),
    ]


def test_list_that_windows_has_written_is_read(tmp_path: Path) -> None:
    touch(tmp_path / "~a.jpg")
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbf~a.jpg\r\n")
    assert find_images([f"@{tmp_path / 'list.txt'}"]) == [tmp_path / "~a.jpg"]


def test_links_that_lead_in_circles_are_followed_once(tmp_path: Path) -> None:
    touch(tmp_path / "z" / "a.jpg", tmp_path / "elsewhere" / "b.jpg")
    for name in ("up", "up2", "up3"):
        (tmp_path / "z" / name).symlink_to(tmp_path)
    (tmp_path / "again").symlink_to(tmp_path / "z")
    assert find_images([tmp_path]) == [tmp_path / "elsewhere" / "b.jpg", tmp_path / "z" / "a.jpg"]


def test_folder_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "shut" / "a.jpg", tmp_path / "b.jpg")
    scandir = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("shut"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=r"shut: cannot read this folder: Permission denied"):
        find_images([tmp_path])


def test_name_that_is_not_utf8_gives_an_id_that_can_be_stored() -> None:
    path = Path(os.fsdecode(b"/data/bad\xff.jpg"))
    assert image_id_of(path, "file:{stem}") == "file:bad\\xff"


def test_sources_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere: no such file or folder"):
        find_images([tmp_path / "nowhere"])
    with pytest.raises(DataError, match="no images in this folder"):
        find_images([tmp_path])
    with pytest.raises(DataError, match="cannot read the list"):
        find_images([f"@{tmp_path}/list.txt"])
    touch(tmp_path / "empty.txt")
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(DataError, match="the list of images is empty"):
        find_images([f"@{tmp_path}/empty.txt"])


@pytest.mark.parametrize(
    ("name", "pattern", "expected"),
    [
        ("COCO_val2014_000000391895.jpg", "coco:{number}", "coco:391895"),
        ("000000000000.jpg", "coco:{number}", "coco:0"),
        ("1000092795.jpg", "flickr30k:{stem}", "flickr30k:1000092795"),
        ("img7_crop12.v2.png", "file:{stem}", "file:img7_crop12.v2"),
        ("img7_crop12.png", "x:{number}", "x:12"),
        ("photo.png", "coco:{number}", None),
        ("a.png", "file:{parent}/{name}", "file:train/a.png"),
    ],
)
def test_image_ids(name: str, pattern: str, expected: str | None) -> None:
    assert image_id_of(Path("/data/train") / name, pattern) == expected


@pytest.mark.parametrize(
    "pattern", ["coco:{id}", "coco", "coco:{number", "{0}", "{}", "coco:{number:012}", "file:{stem!r}"]
)
def test_patterns_that_cannot_work_are_refused(pattern: str) -> None:
    with pytest.raises(ConfigError, match="--image-id"):
        name_pictures([Path("a.jpg")], pattern)


def test_two_files_of_one_id_are_named_and_copies_left_out(tmp_path: Path) -> None:
    paths = [tmp_path / "one" / "a.jpg", tmp_path / "two" / "a.jpg"]
    touch(*paths)
    with pytest.raises(DataError, match=r"one/a\.jpg and .*two/a\.jpg are different files.*'file:a'.*\{parent\}"):
        name_pictures(paths, "file:{stem}")
    paths[1].write_bytes(paths[0].read_bytes())
    assert name_pictures(paths, "file:{stem}") == [Picture(paths[0], "file:a")]


def test_shards_cover_all_pictures_once_counted_from_0_or_1() -> None:
    pictures = [Picture(Path(f"{number}.jpg"), f"file:{number}") for number in range(10)]
    for first in (0, 1):
        shards = [shard_of(pictures, parse_shard(f"{number}/3")) for number in range(first, first + 3)]
        assert sorted(picture.path.stem for shard in shards for picture in shard) == sorted("0123456789")
    for wrong in ("4/3", "1/0", "a/b", "1", "-1/3"):
        with pytest.raises(ConfigError, match="--shard"):
            parse_shard(wrong)
