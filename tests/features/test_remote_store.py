"""Pictures read from a URL and a store put at one: the same store as on a disk; nobody's changes are lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fsspec
import pytest

from tests.features.test_extract import failures_of, records
from vltool.detectors.detector import Detector
from vltool.errors import DataError, StoreError
from vltool.features.extract import extract
from vltool.features.remote_store import local_place
from vltool.features.sources import find_images, find_local_images
from vltool.features.store import RegionStore, info, verify
from vltool.remote_files import version_of


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VLTOOL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def bucket(pictures: Path) -> str:
    """A folder of the first four pictures and a text, in memory."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    for path in sorted(pictures.iterdir())[:4]:
        system.pipe(f"/bucket/photos/{path.name}", path.read_bytes())
    system.pipe("/bucket/photos/notes.txt", b"not a picture")
    system.pipe("/bucket/list.txt", b"memory://bucket/photos/00002.jpg\nmemory://bucket/none.jpg\n")
    return "memory://bucket"


@pytest.fixture(scope="module")
def expected(pictures: Path, detector: Detector, tmp_path_factory: pytest.TempPathFactory) -> dict[bytes, bytes]:
    store = tmp_path_factory.mktemp("expected") / "s"
    extract(sorted(pictures.iterdir())[:4], store, detector=detector, workers=1)
    return records(store)


def test_pictures_at_a_url_give_the_store_of_those_on_a_disk(
    bucket: str, detector: Detector, expected: dict[bytes, bytes], tmp_path: Path
) -> None:
    result = extract([f"{bucket}/photos"], tmp_path / "s", detector=detector, workers=1)
    assert (result.images, result.stored) == (4, 4)
    assert records(tmp_path / "s") == expected


def test_a_list_may_name_urls_and_lie_at_one(bucket: str, detector: Detector, tmp_path: Path) -> None:
    options: dict[str, Any] = {"detector": detector, "image_id_pattern": "{parent}:{stem}", "workers": 1}
    result = extract([f"@{bucket}/list.txt"], tmp_path / "s", **options)
    assert (result.images, result.stored, result.failed) == (2, 1, 1)
    (failure,) = failures_of(result.failures)
    assert failure["path"] == "memory://bucket/none.jpg" and "no such file" in failure["error"]
    with RegionStore.open(tmp_path / "s") as store:
        assert store.image_ids() == ["photos:00002"]


def test_a_folder_without_pictures_and_two_pictures_of_one_name_are_told(bucket: str, pictures: Path) -> None:
    with pytest.raises(DataError, match="memory://bucket/photos/notes"):
        find_images([f"{bucket}/photos/notes"])
    fsspec.filesystem("memory").pipe("/bucket/texts/a.txt", b"a")
    with pytest.raises(DataError, match="no images in this folder"):
        find_images([f"{bucket}/texts"])
    with pytest.raises(DataError, match="by extract-features alone"):
        find_local_images([f"{bucket}/photos"])


@pytest.mark.parametrize("place", ["memory://bucket/s", "file://{tmp_path}/bucket/s"])
def test_a_store_is_put_at_a_url_gone_on_with_and_read_there(
    place: str, pictures: Path, detector: Detector, expected: dict[bytes, bytes], tmp_path: Path, cache: Path
) -> None:
    fsspec.filesystem("memory").store.clear()
    url = place.format(tmp_path=tmp_path)
    some = sorted(pictures.iterdir())
    assert extract(some[:2], url, detector=detector, workers=1).stored == 2
    assert not list(cache.glob("stores/*"))
    result = extract(some[:4], url, detector=detector, workers=1)
    assert (result.stored, result.skipped, result.failures) == (2, 2, f"{url}.failures.jsonl")
    with RegionStore.open(url) as store:
        found = {image_id: store.get(image_id) for image_id in store.image_ids()}
    assert len(found) == 4 and verify(url) == [] and info(url)["complete"]
    with RegionStore.open(Path(url)) as store, store.environment.reading() as transaction:
        assert {bytes(k): bytes(v) for k, v in transaction.cursor() if bytes(k[:1]) != b"\0"} == expected
    with pytest.raises(StoreError, match="stores are written on a disk"):
        RegionStore.create(url, {})
    with pytest.raises(StoreError, match="stores are written on a disk"):
        RegionStore.open(url, mode="a")


def test_what_was_not_put_is_kept_and_gone_on_with(pictures: Path, detector: Detector, tmp_path: Path) -> None:
    url = f"file://{tmp_path}/bucket/s"
    broken = tmp_path / "broken.jpg"
    broken.touch()
    some = [*sorted(pictures.iterdir())[:2], broken]
    with pytest.raises(DataError, match="the file is empty"):
        extract(some, url, detector=detector, workers=1, on_error="stop")
    assert not (tmp_path / "bucket").exists()
    result = extract(some[:2], url, detector=detector, workers=1)
    assert (result.stored, result.skipped) == (0, 2)
    assert (tmp_path / "bucket" / "s" / "data.mdb").exists()


def test_a_store_that_somebody_else_has_put_meanwhile_is_not_overwritten(
    pictures: Path, detector: Detector, tmp_path: Path
) -> None:
    url = f"file://{tmp_path}/bucket/s"
    extract(sorted(pictures.iterdir())[:1], url, detector=detector, workers=1)
    data = tmp_path / "bucket" / "s" / "data.mdb"

    def meanwhile(done: int, total: int) -> None:
        data.write_bytes(data.read_bytes() + bytes(4096))

    options: dict[str, Any] = {"detector": detector, "workers": 1}
    with pytest.raises(StoreError, match=r"changed by somebody else meanwhile\. What was made now is in"):
        extract(sorted(pictures.iterdir())[:2], url, progress=meanwhile, **options)


def test_a_run_that_is_killed_when_it_has_put_the_store_goes_on(
    pictures: Path, detector: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"file://{tmp_path}/bucket/s"
    options: dict[str, Any] = {"detector": detector, "workers": 1}
    some = sorted(pictures.iterdir())[:1]
    with monkeypatch.context() as patch:
        patch.setattr("vltool.features.remote_store.shutil.rmtree", lambda *_, **__: None)
        extract(some, url, **options)  # its folder stays, as after a kill
    before = version_of(url)
    assert extract(some, url, **options).skipped == 1
    assert version_of(url) != before
    with local_place(url) as place:
        assert RegionStore.open(place).image_ids() == ["file:00000"]
