"""Shards of an extraction, run by an engine and merged: the store of one process, whatever is lost on the way."""

from __future__ import annotations

import json
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import pytest

from tests.features.test_extract import Faulty, failures_of, records, with_odd_one
from vltool.detectors.detector import Detector
from vltool.engines.engine import Done, LostJob
from vltool.errors import ConfigError, DataError, StoreError
from vltool.features.extract import extract
from vltool.features.shards import Shard, describe_shard, engine_called, num_shards
from vltool.features.store import RegionStore, info

__all__ = ["with_odd_one"]


class Here:
    """An engine that runs its jobs in this process. loses: whether the process of a job dies, each time."""

    def __init__(self, loses: Callable[[Any], bool] = lambda job: False, most: int = 1000):
        self.loses, self.most = loses, most
        self.jobs: list[Any] = []

    def run(self, function: Callable[[Any], Any], jobs: Sequence[Any] | deque[Any]) -> Iterator[Done[Any, Any]]:
        waiting = jobs if isinstance(jobs, deque) else deque(jobs)
        while waiting and len(self.jobs) < self.most:
            job = waiting.pop()
            self.jobs.append(job)
            try:
                yield Done(job, None, LostJob("lost")) if self.loses(job) else Done(job, function(job), None)
            except DataError as error:
                yield Done(job, None, error)
        if waiting:
            raise KeyboardInterrupt


def assert_same_store(found: Path, expected: Path) -> None:
    assert records(found) == records(expected)
    with RegionStore.open(found) as one, RegionStore.open(expected) as other:
        assert one.header == other.header
        assert one.state == other.state


@pytest.fixture(scope="module")
def whole(pictures: Path, detector: Detector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store that this process alone makes."""
    store = tmp_path_factory.mktemp("whole") / "s"
    extract([pictures], store, detector=detector, workers=1)
    return store


def test_shards_make_the_store_of_one_process(pictures: Path, detector: Detector, whole: Path, tmp_path: Path) -> None:
    engine, seen = Here(), []
    result = extract(
        [pictures], tmp_path / "s", detector=detector, engine=engine, progress=lambda done, total: seen.append(done)
    )
    assert (result.images, result.stored, result.failed) == (12, 12, 0)
    assert [len(job.jobs) for job in engine.jobs] == [6, 6] and seen == list(range(13))
    assert_same_store(tmp_path / "s", whole)
    assert [path.name for path in tmp_path.iterdir() if "shards" in path.name] == []
    assert extract([pictures], tmp_path / "s", detector=detector, engine=engine).skipped == 12
    assert len(engine.jobs) == 2


def test_a_stopped_run_is_gone_on_with_whatever_its_shards_were(
    pictures: Path, detector: Detector, whole: Path, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        extract([pictures], tmp_path / "s", detector=detector, engine=Here(most=1))
    stopped = Here(most=0)
    with pytest.raises(KeyboardInterrupt):
        extract([pictures], tmp_path / "s", detector=detector, engine=stopped)
    left = tmp_path / "s.shards" / "00002-of-00007"  # of a run that was killed, on other machines
    extract(sorted(pictures.iterdir())[:3], left, detector=detector, workers=1)
    result = extract([pictures], tmp_path / "s", detector=detector, engine=Here())
    assert (result.stored, result.skipped) == (4, 8), "six were merged and two of the three left were new"
    assert_same_store(tmp_path / "s", whole)
    assert not (tmp_path / "s.shards").exists()


def test_a_job_that_was_lost_goes_on_from_what_its_shard_holds(
    pictures: Path, detector: Detector, whole: Path, tmp_path: Path
) -> None:
    engine = Here()

    def lose(job: Shard) -> bool:
        """The first job dies when it has described two of its pictures."""
        if len(engine.jobs) > 1:
            return False
        describe_shard(replace(job, jobs=job.jobs[:2]))
        return True

    engine.loses = lose
    result = extract([pictures], tmp_path / "s", detector=detector, engine=engine)
    assert result.stored == 12 and [job.alone for job in engine.jobs] == [False, True, False]
    assert_same_store(tmp_path / "s", whole)


def test_a_picture_that_kills_its_process_fails_alone(
    with_odd_one: Path, detector: Detector, whole: Path, tmp_path: Path
) -> None:
    def has_odd_one(job: Shard) -> bool:
        return not job.alone and any(str(own.path).endswith("00003b.jpg") for own in job.jobs)

    faulty = Faulty(detector, "kill")
    result = extract([with_odd_one], tmp_path / "s", detector=faulty, engine=Here(has_odd_one))
    assert (result.stored, result.failed) == (12, 1)
    (failure,) = failures_of(result.failures)
    assert failure["image_id"] == "file:00003b" and "killed by SIGKILL" in failure["error"]
    assert records(tmp_path / "s") == records(whole)


def test_a_job_that_is_lost_even_so_is_an_error_and_keeps_the_others(
    pictures: Path, detector: Detector, tmp_path: Path
) -> None:
    first = str(sorted(pictures.iterdir())[0])
    engine = Here(lambda job: str(job.jobs[0].path) == first)
    with pytest.raises(LostJob):
        extract([pictures], tmp_path / "s", detector=detector, engine=engine)
    assert info(tmp_path / "s")["images"] == 6


def test_pictures_that_fail_are_listed_or_stop_the_run(pictures: Path, detector: Detector, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    shutil.copytree(pictures, folder)
    (folder / "00004.jpg").write_text("not a picture")
    result = extract([folder], tmp_path / "s", detector=detector, engine=Here())
    assert (result.stored, result.failed) == (11, 1) and not info(tmp_path / "s")["complete"]
    assert [Path(failure["path"]).name for failure in failures_of(result.failures)] == ["00004.jpg"]
    with pytest.raises(DataError, match=r"00004\.jpg: not an image"):
        extract([folder], tmp_path / "t", detector=detector, engine=Here(), on_error="stop")
    (folder / "00004.jpg").write_bytes((pictures / "00004.jpg").read_bytes())
    result = extract([folder], tmp_path / "t", detector=detector, engine=Here(), on_error="stop")
    assert result.stored + result.skipped == 12 and info(tmp_path / "t")["complete"]


def test_another_detector_on_a_machine_is_refused(pictures: Path, detector: Detector, tmp_path: Path) -> None:
    class Other(Here):
        def run(self, function: Any, jobs: Any) -> Iterator[Any]:
            return super().run(function, [replace(job, fingerprint="f00d") for job in jobs])

    with pytest.raises(StoreError, match=r"where the extraction was started f00d in float32.* same files"):
        extract([pictures], tmp_path / "s", detector=detector, engine=Other())


def test_shards_are_several_a_place_and_none_is_large() -> None:
    assert num_shards(3, 0) == 1
    assert num_shards(100, 0) == 13
    assert num_shards(100, 2) == 8
    assert num_shards(1_000_000, 2) == 2000


def test_options_that_do_not_go_together_are_refused(pictures: Path, detector: Detector, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--ray-address goes with --engine ray"):
        engine_called("local", workers=0, ray_address="127.0.0.1:6379")
    with pytest.raises(ConfigError, match="memory://s: other processes do not see it"):
        extract([pictures], "memory://s", detector=detector, engine=Here())
    fsspec.filesystem("memory").pipe("/photos/1.jpg", b"")
    with pytest.raises(ConfigError, match=r"memory:///photos/1\.jpg: other processes do not see it"):
        extract(["memory://photos"], tmp_path / "s", detector=detector, engine=Here())


def test_shards_of_a_store_at_a_url_are_put_beside_it(
    pictures: Path, detector: Detector, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLTOOL_CACHE", str(tmp_path / "cache"))
    url = f"file://{tmp_path}/bucket/s"
    with pytest.raises(KeyboardInterrupt):
        extract([pictures], url, detector=detector, engine=Here(most=1))
    shutil.rmtree(tmp_path / "cache")  # as on another machine
    engine = Here()
    result = extract([pictures], url, detector=detector, engine=engine)
    assert (result.stored, result.skipped, len(engine.jobs)) == (6, 6, 1)
    assert_same_store(tmp_path / "bucket" / "s", whole)
    assert {path.name for path in (tmp_path / "bucket").iterdir()} == {"s", "s.failures.jsonl"}
    assert json.loads((tmp_path / "bucket" / "s.failures.jsonl").read_text() or "[]") == []
