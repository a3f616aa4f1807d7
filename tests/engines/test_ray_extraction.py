"""`extract-features --engine ray` on a cluster that loses a node: the store of the local engine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engines.clusters import two_nodes
from tests.features.conftest import detector, draw
from tests.features.test_extract import records
from vltool.detectors.detector import Detector
from vltool.engines.ray import RayEngine
from vltool.features.compare import compare
from vltool.features.extract import extract
from vltool.features.store import RegionStore, verify

__all__ = ["detector"]
ray = pytest.importorskip("ray")
NUM_PICTURES = 96


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many")
    for number in range(NUM_PICTURES):
        draw(folder / f"{number:05d}.jpg", number)
    return folder


@pytest.fixture(scope="module")
def local(many: Path, detector: Detector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of the local engine."""
    store = tmp_path_factory.mktemp("local") / "s"
    extract([many], store, detector=detector, workers=2)
    return store


def assert_same_store(found: Path, expected: Path) -> None:
    compared = compare(found, expected)
    assert (compared["images"], compared["equal"]) == (NUM_PICTURES, NUM_PICTURES)
    assert compared["only_in_a"] == compared["only_in_b"] == 0
    assert verify(found) == []
    assert records(found) == records(expected)
    with RegionStore.open(found) as one, RegionStore.open(expected) as other:
        assert one.header == other.header and one.state == other.state


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_a_cluster_that_loses_a_node_in_the_middle_gives_the_store_of_the_local_engine(
    many: Path, local: Path, detector: Detector, tmp_path: Path
) -> None:
    shards: list[Any] = []
    under_way: list[str] = []
    with two_nodes() as (cluster, lost):

        class Losing(RayEngine):
            """Its cluster loses a node after the second shard, as soon as shards are under way."""

            def run(self, function: Any, waiting: Any) -> Iterator[Any]:
                for done in super().run(function, waiting):
                    shards.append(done)
                    begun = [path.name for path in (tmp_path / "s.shards").iterdir()]
                    if len(shards) >= 2 and len(begun) > 1 and not under_way:
                        under_way.extend(begun)
                        cluster.remove_node(lost, allow_graceful=False)
                    yield done

        engine = Losing(2, address=cluster.address, num_threads=1)
        result = extract([many], tmp_path / "s", detector=detector, engine=engine, workers=2)
    assert len(shards) == 8 and len(under_way) > 1
    assert (result.stored, result.failed) == (NUM_PICTURES, 0)
    assert_same_store(tmp_path / "s", local)
    assert not (tmp_path / "s.shards").exists()


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_the_command_is_interrupted_and_goes_on(many: Path, local: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "vltool", "extract-features", str(many), "--out", str(tmp_path / "s"), "--json"]
    command += ["--engine", "ray", "--workers", "2", "--precision", "float32"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        while process.poll() is None and not list(tmp_path.glob("s.shards/*/data.mdb")):
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)
        stderr = process.communicate()[1]
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(again.stdout)
    assert found["stored"] + found["skipped"] == NUM_PICTURES
    assert_same_store(tmp_path / "s", local)
