"""Trials on one machine share the features in memory: the store is mapped, and its pages are there once."""

from __future__ import annotations

import multiprocessing
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest

from vltool.features.header import make_header
from vltool.features.store import RegionStore
from vltool.structures import ImageId, RegionFeatures

NUM_IMAGES, FEATURE_DIM = 400, 512


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_two_processes_that_read_the_same_features_hold_them_once(tmp_path: Path) -> None:
    path = tmp_path / "features.lmdb"
    header = make_header(
        backend="by hand", fingerprint="x", recipe={"name": "by hand"}, feature_dim=FEATURE_DIM, dtype="float16"
    )
    with RegionStore.create(path, header) as store:
        for number in range(NUM_IMAGES):
            features = np.full((10, FEATURE_DIM), number, np.float16)
            store.put(RegionFeatures(ImageId(f"file:{number}"), features, np.zeros((10, 4), np.float32), 9, 9))
    with reader(path) as first, reader(path) as second:
        one, two = mapped(first), mapped(second)
    assert min(one["Rss"], two["Rss"]) > NUM_IMAGES * 10 * FEATURE_DIM * 2 / 1024  # kB: both have read it all
    assert one["Pss"] + two["Pss"] < 1.1 * max(one["Rss"], two["Rss"])  # and together they hold it once
    assert one["Private_Dirty"] == two["Private_Dirty"] == 0


@contextmanager
def reader(path: Path) -> Iterator[int]:
    """The id of a process that has read every picture and keeps the store open."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=read_all, args=(path, theirs))
    process.start()
    theirs.close()  # if it dies, recv says so
    ours.recv()
    yield process.pid or 0
    ours.send("end")
    process.join()


def read_all(path: Path, told: Connection) -> None:
    store = RegionStore.open(path)
    with store.views() as view:
        total = sum(float(view(ImageId(f"file:{number}")).features.max()) for number in range(NUM_IMAGES))
        told.send(total)
        told.recv()


def mapped(pid: int) -> dict[str, int]:
    """kB of data.mdb in a process: Rss what it sees, Pss its part of what is shared, Private_Dirty its own copies."""
    found = {"Rss": 0, "Pss": 0, "Private_Dirty": 0}
    of_store = False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            of_store = line.endswith("data.mdb")
        elif of_store and (name := line.split(":")[0]) in found:
            found[name] += int(line.split()[1])
    return found
