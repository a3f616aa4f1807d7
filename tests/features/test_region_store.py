"""The feature store: what goes in comes out, whatever happens to the process that writes it."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import lmdb
import numpy as np
import pytest

from vltool.errors import DataError, StoreError
from vltool.features import environment, record
from vltool.features.header import make_header
from vltool.features.show import describe, save_npz
from vltool.features.store import RegionStore, info, verify
from vltool.structures import ImageId, RegionFeatures

WIDTH = 8


def header(**changes: object) -> dict:
    values: dict = {
        "feature_dim": WIDTH,
        "dtype": "float16",
        "backend": "builtin",
        "fingerprint": "f00d",
        "recipe": {"name": "bottom-up", "min_boxes": 10},
        "class_names": ("cat", "dog"),
    }
    return make_header(**{**values, **changes})


def regions(number: int, *, count: int = 3, width: int = WIDTH) -> RegionFeatures:
    random = np.random.default_rng(number)
    return RegionFeatures(
        image_id=ImageId(f"coco:{number}"),
        features=random.normal(size=(count, width)).astype(np.float32),
        boxes=random.uniform(0, 100, (count, 4)).astype(np.float32),
        height=480,
        width=640,
        classes=random.integers(0, 2, count),
        scores=random.uniform(size=count).astype(np.float32),
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "features.lmdb"


def make_store(path: Path, count: int = 5) -> Path:
    with RegionStore.create(path, header()) as store:
        for number in range(count):
            store.put(regions(number), {"name": f"{number}.jpg", "bytes": 7})
        store.flush(complete=True)
    return path


def test_what_is_put_comes_back_in_half_precision(path: Path) -> None:
    make_store(path)
    with RegionStore.open(path) as store:
        assert len(store) == 5 and "coco:3" in store and "coco:9" not in store and "" not in store
        assert store.image_ids() == [f"coco:{number}" for number in range(5)]
        found, expected = store.get("coco:3"), regions(3)
        np.testing.assert_array_equal(found.features, expected.features.astype(np.float16))
        np.testing.assert_array_equal(found.boxes, expected.boxes)
        np.testing.assert_array_equal(found.classes, expected.classes)
        np.testing.assert_array_equal(found.scores, expected.scores)
        assert (found.height, found.width, found.attributes) == (480, 640, None)
        assert found.features.dtype == np.float16 and found.boxes.dtype == np.float32
        assert store.source("coco:3") == {"name": "3.jpg", "bytes": 7}
        assert store.header["class_names"] == ["cat", "dog"] and store.feature_dim == WIDTH


def test_arrays_are_copies_that_outlive_the_store(path: Path) -> None:
    make_store(path)
    with RegionStore.open(path) as store:
        found = store.get("coco:1")
    found.features[:] = 0
    with RegionStore.open(path) as store:
        assert store.get("coco:1").features.any()


def test_pictures_are_found_before_they_are_committed(path: Path) -> None:
    with RegionStore.create(path, header()) as store:
        store.put(regions(1))
        assert "coco:1" in store and len(store) == 1 and store.image_ids() == ["coco:1"]
        np.testing.assert_array_equal(store.get("coco:1").boxes, regions(1).boxes)


def test_empty_records_and_odd_ids(path: Path) -> None:
    ids = ["file:é中 with spaces", "a", "file:" + "x" * 500]
    with RegionStore.create(path, header()) as store:
        for image_id in ids:
            store.put(replace(regions(1, count=0), image_id=ImageId(image_id)))
    with RegionStore.open(path) as store:
        assert sorted(store.image_ids()) == sorted(ids)
        assert store.get(ids[0]).features.shape == (0, WIDTH)
        assert "x" * 600 not in store


def test_map_grows_by_itself_and_readers_follow(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "FIRST_MAP_SIZE", 256 * 1024)
    wide = header(feature_dim=1024, dtype="float32")
    script = (
        "import sys; from vltool.features.store import RegionStore\n"
        "store = RegionStore.open(sys.argv[1]); print(len(store), flush=True); input()\n"
        "print(len(store), store.get('coco:99').features.shape, flush=True)\n"
    )
    with RegionStore.create(path, wide) as store:
        store.put(regions(0, count=10, width=1024))
        store.flush()
        with subprocess.Popen(
            [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as reader:
            assert reader.stdin is not None and reader.stdout is not None
            assert reader.stdout.readline() == "1\n"
            for number in range(1, 100):
                store.put(regions(number, count=10, width=1024))
            store.flush()
            print(file=reader.stdin, flush=True)
            assert reader.stdout.readline() == "100 (10, 1024)\n"
    assert (path / "data.mdb").stat().st_size > 4_000_000
    assert verify(path) == []


def test_data_mdb_may_be_named_and_the_folder_made(tmp_path: Path) -> None:
    path = make_store(tmp_path / "deep" / "er" / "store")
    with RegionStore.open(path / "data.mdb") as store:
        assert len(store) == 5


def read_in_child(store: RegionStore, queue: multiprocessing.Queue) -> None:
    queue.put(float(store.get("coco:2").boxes.sum()))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_store_opened_before_starting_processes_works_in_them(path: Path, method: str) -> None:
    make_store(path)
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    with RegionStore.open(path) as store:
        store.get("coco:2")
        children = [context.Process(target=read_in_child, args=(store, queue)) for _ in range(2)]
        for child in children:
            child.start()
        expected = float(regions(2).boxes.sum())
        assert [queue.get(timeout=60) for _ in children] == [expected, expected]
        for child in children:
            child.join()
        assert store.get("coco:2").boxes.sum() == expected


def test_store_can_be_opened_several_times_in_a_process_and_read_while_written(path: Path) -> None:
    make_store(path)
    with RegionStore.open(path) as first, RegionStore.open(path) as second:
        with RegionStore.open(path, mode="a") as writer:
            writer.put(regions(7))
            writer.flush()
            assert "coco:7" in first and "coco:7" in second
        assert len(first) == 6 and pickle.loads(pickle.dumps(first)).get("coco:7").num_regions == 3


def test_second_writer_is_refused(path: Path) -> None:
    with RegionStore.create(path, header()):
        with pytest.raises(StoreError, match="another process is writing this store"):
            RegionStore.open(path, mode="a")
    RegionStore.open(path, mode="a").close()


def write_in_child(store: RegionStore, queue: multiprocessing.Queue) -> None:
    try:
        store.put(regions(8))
    except StoreError as error:
        queue.put(str(error))
    store.close()


def test_forked_writer_neither_writes_nor_unlocks(path: Path) -> None:
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    with RegionStore.create(path, header()) as store:
        store.put(regions(1))
        child = context.Process(target=write_in_child, args=(store, queue))
        child.start()
        assert "open for reading only" in queue.get(timeout=60)
        child.join()
        with pytest.raises(StoreError, match="another process is writing"):
            RegionStore.open(path, mode="a")
        store.put(regions(2))
    assert verify(path) == [] and info(path)["images"] == 2


def test_reader_needs_no_write_permission_and_leaves_no_trace(path: Path) -> None:
    make_store(path)
    for leftover in ("lock.mdb", "write.lock"):
        (path / leftover).unlink(missing_ok=True)
    with RegionStore.open(path) as store:
        store.get("coco:1")
        with pytest.raises(StoreError, match="open for reading only"):
            store.put(regions(9))
    assert [file.name for file in path.iterdir()] == ["data.mdb"]


KILLED = """
import sys, os
sys.path.insert(0, os.path.dirname(sys.argv[2]))
from test_region_store import RegionStore, header, regions
store = RegionStore.open_or_create(sys.argv[1], header(feature_dim=256))
for number in range(10_000):
    if f"coco:{number}" not in store:
        store.put(regions(number, count=40, width=256))
    print(number, flush=True)
"""


def test_killed_writer_loses_at_most_a_commit_and_damages_nothing(path: Path) -> None:
    written = -1
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", KILLED, str(path), __file__], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if int(line) == written + 150:
                    os.kill(process.pid, signal.SIGKILL)
                    break
        assert verify(path) == []
        with RegionStore.open(path) as store:
            count = len(store)
            assert written + 150 - 32 <= count
            assert store.image_ids() == sorted(f"coco:{number}" for number in range(count))
            assert store.state["images"] == count and store.state["regions"] == 40 * count
            last = regions(count - 1, count=40, width=256)
            np.testing.assert_array_equal(store.get(f"coco:{count - 1}").boxes, last.boxes)
        written = count - 1


WRITES = """
import os, random, sys
sys.path.insert(0, os.path.dirname(sys.argv[2]))
from test_region_store import RegionStore, regions
with RegionStore.open(sys.argv[1], mode="a") as store:
    for number in random.Random(0).sample(range(1000, 2000), 200):
        store.put(regions(number))
        store.flush()
"""


def test_a_view_stays_what_it_was_while_another_process_writes(path: Path) -> None:
    make_store(path, count=500)
    with RegionStore.open(path) as store:
        expected = {f"coco:{number}": regions(number).boxes for number in range(500)}
        with store.views() as view:
            view("coco:0")
            subprocess.run([sys.executable, "-c", WRITES, str(path), __file__], check=True)
            for image_id, boxes in expected.items():
                np.testing.assert_array_equal(view(image_id).boxes, boxes)
        assert len(store) == 700


LIMITED = """
import os, resource, sys
sys.path.insert(0, os.path.dirname(sys.argv[2]))
from test_region_store import RegionStore, header, regions
limit = int(sys.argv[3])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
else:
    resource.setrlimit(resource.RLIMIT_AS, (2**33, 2**33))
with RegionStore.create(sys.argv[1], header(feature_dim=1024, dtype="float32")) as store:
    for number in range(200):
        store.put(regions(number, count=100, width=1024))
print(len(RegionStore.open(sys.argv[1])))
"""


def test_a_file_that_cannot_grow_is_an_error_that_leaves_a_valid_store(path: Path) -> None:
    command = [sys.executable, "-c", LIMITED, str(path), __file__, str(30 * 2**20)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "cannot write" in run.stderr.splitlines()[-1]
    assert verify(path) == [] and info(path)["images"] == 64


def test_little_address_space_is_enough_and_the_map_grows(path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path), __file__, "0"], capture_output=True, text=True, check=True
    )
    assert run.stdout == "200\n" and (path / "data.mdb").stat().st_size > environment.SMALL_MAP_SIZE


def test_store_of_a_writer_killed_in_its_first_moment_is_begun_anew(path: Path) -> None:
    path.mkdir()
    (path / "data.mdb").touch()
    with pytest.raises(StoreError, match=r"data\.mdb is empty"):
        RegionStore.open(path)
    with RegionStore.open_or_create(path, header()) as store:
        store.put(regions(1))
    assert verify(path) == []


def test_commit_happens_after_two_seconds(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with RegionStore.create(path, header()) as store:
        store.put(regions(1))
        now = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: now + 3)
        store.put(regions(2))
        assert store.state["images"] == 2


def test_flipped_bit_is_found_by_verify_and_get(path: Path) -> None:
    make_store(path)
    data = bytearray((path / "data.mdb").read_bytes())
    wanted = regions(3).boxes.tobytes()
    data[data.index(wanted) + 5] ^= 1
    (path / "data.mdb").write_bytes(data)
    assert verify(path) == ["coco:3"]
    with RegionStore.open(path) as store:
        with pytest.raises(StoreError, match=r"record of image 'coco:3' is damaged.*vltool features verify"):
            store.get("coco:3")
        assert store.get("coco:2").num_regions == 3


def test_lost_page_is_an_error_not_a_crash(path: Path) -> None:
    make_store(path, count=300)
    data = (path / "data.mdb").read_bytes()
    pages = [data[start : start + 4096] for start in range(0, len(data), 4096)]
    found, errors = set(), []
    for number in range(2, len(pages), 4):
        blank = [*pages[:number], bytes(4096), *pages[number + 1 :]]
        (path / "data.mdb").write_bytes(b"".join(blank))
        try:
            found.update(verify(path))
        except StoreError as error:
            errors.append(str(error))
    assert errors and found <= {f"coco:{number}" for number in range(300)}
    assert all("copy" in error.lower() or "not a vltool feature store" in error for error in errors)


def test_truncated_database_is_an_error_not_a_crash(path: Path) -> None:
    make_store(path, count=100)
    data = (path / "data.mdb").read_bytes()
    for share in (0.5, 0.05):
        (path / "data.mdb").write_bytes(data[: int(share * len(data))])
        with pytest.raises(StoreError, match=r"truncated|not a readable LMDB"):
            RegionStore.open(path)


def test_foreign_and_missing_stores_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"no feature store here\. Make one: vltool extract-features"):
        RegionStore.open(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="a file; a feature store is a folder"):
        RegionStore.open(tmp_path / "file")
    (tmp_path / "junk").mkdir()
    (tmp_path / "junk" / "data.mdb").write_bytes(b"junk" * 5000)
    with pytest.raises(StoreError, match="not a readable LMDB database"):
        RegionStore.open(tmp_path / "junk")
    with lmdb.open(str(tmp_path / "foreign")) as foreign, foreign.begin(write=True) as transaction:
        transaction.put(b"keys", b"x")
    with pytest.raises(StoreError, match=r"not a vltool feature store.*vltool features import"):
        RegionStore.open(tmp_path / "foreign")
    with pytest.raises(StoreError, match="not a vltool feature store"):
        RegionStore.create(tmp_path / "foreign", header())


def test_store_of_another_origin_is_not_mixed(path: Path) -> None:
    make_store(path)
    with pytest.raises(StoreError, match=r"made with fingerprint 'f00d', now it is 'beef'.*--out"):
        RegionStore.open_or_create(path, header(fingerprint="beef"))
    with pytest.raises(StoreError, match="already a feature store"):
        RegionStore.create(path, header())
    RegionStore.open_or_create(path, header()).close()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (regions(1, width=9), "features of width 9, but the store's have 8"),
        (replace(regions(1), scores=np.zeros(2, np.float32)), "2 scores for 3 regions"),
        (replace(regions(1), boxes=np.zeros((3, 5), np.float32)), r"boxes of shape \(3, 5\)"),
        (replace(regions(1), features=np.full((3, WIDTH), 1e5, np.float32)), "100000 do not fit float16.*float32"),
        (replace(regions(1), image_id=ImageId("x" * 512)), "needs 1 to 511 bytes"),
        (regions(0), "has features for image 'coco:0' already"),
    ],
)
def test_misfits_are_refused(path: Path, changed: RegionFeatures, message: str) -> None:
    make_store(path, count=1)
    with RegionStore.open(path, mode="a") as store, pytest.raises((StoreError, DataError), match=message):
        store.put(changed)


def test_missing_image_is_named(path: Path) -> None:
    make_store(path)
    with RegionStore.open(path) as store, pytest.raises(DataError, match=r"no features for image 'coco:77' \(5 images"):
        store.get("coco:77")


def test_info_and_show_tell_what_is_there(path: Path, tmp_path: Path) -> None:
    make_store(path)
    found = info(path)
    assert {name: found[name] for name in ("images", "regions", "feature_dim", "dtype", "backend", "recipe")} == {
        "images": 5,
        "regions": 15,
        "feature_dim": WIDTH,
        "dtype": "float16",
        "backend": "builtin",
        "recipe": "bottom-up",
    }
    assert found["fingerprint"] == "f00d" and found["complete"] and found["bytes"] > 0
    shown = describe(path, "coco:2")
    assert shown["num_regions"] == 3 and shown["regions"][0]["class"] in ("cat", "dog")
    assert shown["regions"][0]["attribute"] is None
    save_npz(path, "coco:2", tmp_path / "two.npz")
    with np.load(tmp_path / "two.npz") as arrays:
        assert set(arrays) == {"features", "boxes", "classes", "scores", "attributes", "attribute_scores"} | {
            "height",
            "width",
        }
        assert arrays["features"].shape == (3, WIDTH) and arrays["attributes"].shape == (0,) and arrays["height"] == 480


def test_same_pictures_make_the_same_records(path: Path, tmp_path: Path) -> None:
    first = record.encode(regions(1), {"name": "1.jpg"})
    assert first == record.encode(regions(1), {"name": "1.jpg"})
    assert record.is_whole(first) and not record.is_whole(first[:-1])
    make_store(path, count=40)
    make_store(tmp_path / "again", count=40)
    assert (path / "data.mdb").read_bytes() == (tmp_path / "again" / "data.mdb").read_bytes()
