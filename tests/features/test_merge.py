"""Shards into one store."""

from __future__ import annotations

import json
from pathlib import Path

import lmdb
import numpy as np
import pytest
from typer.testing import CliRunner

from vltool.cli.app import app
from vltool.errors import DataError, StoreError
from vltool.features.header import make_header
from vltool.features.merge import merge
from vltool.features.store import RegionStore, verify
from vltool.structures import ImageId, RegionFeatures


def make(path: Path, *numbers: int, fingerprint: str = "f00d", shift: float = 0, complete: bool = True) -> Path:
    header = make_header(feature_dim=4, backend="builtin", fingerprint=fingerprint, recipe={"name": "bottom-up"})
    with RegionStore.create(path, header) as store:
        for number in numbers:
            features = np.full((2, 4), number + shift, np.float32)
            boxes = np.array([[0, 0, 1, 1], [1, 1, 2, 3]], np.float32)
            store.put(RegionFeatures(ImageId(f"coco:{number}"), features, boxes, 48, 64), {"name": f"{number}.jpg"})
        store.flush(complete=complete)
    return path


def test_shards_are_joined_and_joining_again_does_nothing(tmp_path: Path) -> None:
    shards = [make(tmp_path / "a", 1, 2), make(tmp_path / "b", 3), make(tmp_path / "c", 2, 4)]
    result = merge(shards, tmp_path / "all")
    assert (result.stored, result.skipped, result.failed, result.regions) == (4, 1, 0, 8) and result.complete
    assert not verify(tmp_path / "all")
    with RegionStore.open(tmp_path / "all") as store, RegionStore.open(shards[1]) as shard:
        assert store.image_ids() == [f"coco:{number}" for number in (1, 2, 3, 4)]
        assert store.header == shard.header and store.state == {"images": 4, "regions": 8, "complete": True}
        np.testing.assert_array_equal(store.get("coco:3").features, shard.get("coco:3").features)
        assert store.source("coco:3") == {"name": "3.jpg"}
    again = merge(shards, tmp_path / "all")
    assert (again.stored, again.skipped) == (0, 5)


def test_mixed_fingerprints_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    shards = [make(tmp_path / "a", 1), make(tmp_path / "b", 2, fingerprint="beef")]
    with pytest.raises(StoreError, match=r"a and .*b cannot be merged: fingerprint 'f00d' and 'beef'"):
        merge(shards, tmp_path / "all")
    assert not (tmp_path / "all").exists()
    merge(shards[:1], tmp_path / "all")
    with pytest.raises(StoreError, match="fingerprint"):
        merge(shards[1:], tmp_path / "all")
    with pytest.raises(DataError, match="one of the stores"):
        merge(shards[:1], tmp_path / "a")


def test_records_that_differ_or_are_damaged_are_listed(tmp_path: Path) -> None:
    shards = [make(tmp_path / "a", 1, 2), make(tmp_path / "b", 2, shift=1), make(tmp_path / "c", 3, complete=False)]
    with lmdb.open(str(shards[2])) as env, env.begin(write=True) as transaction:
        data = bytearray(transaction.get(b"coco:3"))
        data[-1] ^= 1
        transaction.put(b"coco:3", bytes(data))
    command = ["features", "merge", *map(str, shards), "--out", str(tmp_path / "all"), "--json"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 3
    found = json.loads(result.stdout)
    assert (found["stored"], found["failed"], found["complete"]) == (2, 2, False)
    listed = Path(found["failures"]).read_text()
    assert "another record for image 'coco:2'" in listed and "'coco:3' is damaged" in listed
