"""What LMDB needs help with: readers it does not know of, full disks, little address space, unfinished files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.features.test_region_store import header, make_store, regions
from vltool.errors import StoreError
from vltool.features import environment
from vltool.features.store import RegionStore, info, verify


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "features.lmdb"


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


def test_full_disk_is_an_error_before_lmdb_maps_its_lock(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(StoreError, match="cannot be written to: No space left on device"):
        RegionStore.create(path, header())
