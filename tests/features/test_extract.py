"""Images to a store: ids, resuming, failures, shards, processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from vltool.detectors.detector import Detections, Detector
from vltool.detectors.selection import Recipe, select
from vltool.errors import ConfigError, DataError, StoreError
from vltool.features.describe import Job
from vltool.features.extract import extract, store_header
from vltool.features.images import read_image
from vltool.features.store import RegionStore, info, verify
from vltool.features.worker import Setup
from vltool.features.workers import describe_in_parallel
from vltool.structures import ImageId

PATTERN = "world:{number}"


def records(path: Path) -> dict[bytes, bytes]:
    with RegionStore.open(path) as store, store.environment.reading() as transaction:
        return {bytes(key): bytes(value) for key, value in transaction.cursor() if bytes(key[:1]) != b"\0"}


def failures_of(result_path: str) -> list[dict]:
    return [json.loads(line) for line in Path(result_path).read_text().splitlines()]


def test_every_picture_is_stored_as_the_recipe_gives_it(pictures: Path, detector: Detector, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    result = extract(
        [pictures],
        tmp_path / "s",
        detector=detector,
        image_id_pattern=PATTERN,
        workers=1,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert (result.images, result.stored, result.skipped, result.failed) == (12, 12, 0, 0)
    assert seen == [(number, 12) for number in range(13)]
    assert failures_of(result.failures) == []
    found = info(tmp_path / "s")
    assert (found["images"], found["regions"], found["complete"]) == (12, result.regions, True)
    with RegionStore.open(tmp_path / "s") as store:
        assert store.image_ids() == sorted(f"world:{number}" for number in range(12))
        expected = select(Recipe(), detector.detect(read_image(pictures / "00007.jpg")), ImageId("world:7"))
        stored = store.get("world:7")
        np.testing.assert_array_equal(stored.boxes, expected.boxes)
        np.testing.assert_array_equal(stored.features, expected.features.astype(np.float16))
        np.testing.assert_array_equal(stored.attributes, expected.attributes)
        assert (stored.height, stored.width) == (120, 160)
        source = store.source("world:7")
        assert source["name"] == "00007.jpg" and len(source["sha256"]) == 64 and len(source["phash"]) == 16
        assert store.header["recipe"]["min_boxes"] == 10 and store.header["fingerprint"] == detector.fingerprint
        assert store.header["class_names"] == list(detector.class_names)


def test_running_again_goes_on_and_then_has_nothing_to_do(pictures: Path, detector: Detector, tmp_path: Path) -> None:
    some = sorted(pictures.iterdir())[:5]
    options = {"detector": detector, "image_id_pattern": PATTERN, "workers": 1}
    assert extract(some, tmp_path / "s", **options).stored == 5
    result = extract([pictures], tmp_path / "s", **options)
    assert (result.images, result.stored, result.skipped) == (12, 7, 5)
    result = extract([pictures], tmp_path / "s", **options)
    assert (result.stored, result.skipped, result.regions) == (0, 12, 0)
    assert info(tmp_path / "s")["complete"]


def test_store_of_other_options_is_refused(pictures: Path, detector: Detector, tmp_path: Path) -> None:
    some = sorted(pictures.iterdir())[:1]
    extract(some, tmp_path / "s", detector=detector, workers=1)
    with pytest.raises(StoreError, match=r"made with recipe .*'min_boxes': 10.*--out"):
        extract(some, tmp_path / "s", detector=detector, min_boxes=5)
    with pytest.raises(StoreError, match="made with dtype 'float16', now it is 'float32'"):
        extract(some, tmp_path / "s", detector=detector, dtype="float32")


def test_failures_are_listed_and_tried_again(pictures: Path, detector: Detector, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.copy(pictures / "00001.jpg", folder / "good1.jpg")
    (folder / "empty2.jpg").touch()
    (folder / "text3.png").write_text("not a picture")
    (folder / "nodigits.jpg").write_bytes((pictures / "00002.jpg").read_bytes())
    (tmp_path / "list.txt").write_text("in/missing4.jpg\n")
    options = {"detector": detector, "image_id_pattern": PATTERN, "workers": 1}
    result = extract([folder, f"@{tmp_path}/list.txt"], tmp_path / "s", **options)
    assert (result.images, result.stored, result.failed) == (5, 1, 4)
    listed = {Path(failure["path"]).name: failure for failure in failures_of(result.failures)}
    assert listed["empty2.jpg"]["image_id"] == "world:2" and "file is empty" in listed["empty2.jpg"]["error"]
    assert "not an image" in listed["text3.png"]["error"] and "no such file" in listed["missing4.jpg"]["error"]
    assert listed["nodigits.jpg"]["image_id"] is None and "no digits" in listed["nodigits.jpg"]["error"]
    assert not info(tmp_path / "s")["complete"]
    shutil.copy(pictures / "00002.jpg", folder / "empty2.jpg")
    result = extract([folder], tmp_path / "s", **options)
    assert (result.stored, result.skipped, result.failed) == (1, 1, 2)
    assert "empty2.jpg" not in Path(result.failures).read_text() and "missing4.jpg" in Path(result.failures).read_text()


def test_stop_on_error_keeps_what_was_done(pictures: Path, detector: Detector, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.touch()
    sources = [pictures / "00001.jpg", broken, pictures / "00002.jpg"]
    with pytest.raises(DataError, match=r"broken\.jpg: the file is empty"):
        extract(sources, tmp_path / "s", detector=detector, on_error="stop", workers=1)
    with RegionStore.open(tmp_path / "s") as store:
        assert store.image_ids() == ["file:00001"] and not store.state["complete"]


def test_shards_fill_stores_that_together_hold_every_picture(
    pictures: Path, detector: Detector, tmp_path: Path
) -> None:
    ids: list[str] = []
    for number in (1, 2, 3):
        extract([pictures], tmp_path / str(number), detector=detector, shard=(number, 3), workers=1)
        with RegionStore.open(tmp_path / str(number)) as store:
            assert len(store) == 4
            ids += store.image_ids()
    assert sorted(ids) == [f"file:{number:05d}" for number in range(12)]


def test_given_boxes_are_pooled_in_order_and_cannot_change(pictures: Path, detector: Detector, tmp_path: Path) -> None:
    boxes = {"world:1": np.array([[5, 5, 50, 60], [0, 0, 160, 120]], np.float32), "world:2": np.zeros((0, 4))}
    boxes["world:3"] = np.array([[0, 0, 999, 10]], np.float32)
    sources = [pictures / f"0000{number}.jpg" for number in (1, 2, 3, 4)]
    options = {"detector": detector, "recipe": "given-boxes", "image_id_pattern": PATTERN, "workers": 1}
    result = extract(sources, tmp_path / "s", boxes=boxes, **options)
    assert (result.stored, result.failed, result.regions) == (2, 2, 2)
    errors = " ".join(failure["error"] for failure in failures_of(result.failures))
    assert "no boxes given for image 'world:4'" in errors and "does not lie in a picture of 160 x 120" in errors
    with RegionStore.open(tmp_path / "s") as store:
        np.testing.assert_array_equal(store.get("world:1").boxes, boxes["world:1"])
        assert store.get("world:2").num_regions == 0
    assert extract(sources[:2], tmp_path / "s", boxes=boxes, **options).skipped == 2
    boxes["world:1"] = boxes["world:1"] + 1
    with pytest.raises(StoreError, match="'world:1' was stored with other boxes"):
        extract(sources, tmp_path / "s", boxes=boxes, **options)
    with pytest.raises(ConfigError, match="go together"):
        extract(sources, tmp_path / "s", detector=detector, boxes=boxes)


class Faulty:
    """The packaged detector, but for one picture."""

    def __init__(self, detector: Detector, harm: str) -> None:
        self.detector, self.harm = detector, harm

    def __getattr__(self, name: str) -> object:
        if name.startswith("__") or name in ("detector", "harm"):
            raise AttributeError(name)
        return getattr(self.detector, name)

    def detect_batch(self, images: list[np.ndarray], boxes: list[np.ndarray] | None) -> list[Detections]:
        if images[0].shape[0] == 33:
            if self.harm == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise (ValueError("a bug") if self.harm == "bug" else RuntimeError("cannot allocate memory"))
        return self.detector.detect_batch(images, boxes)


@pytest.fixture
def with_odd_one(pictures: Path, tmp_path: Path) -> Path:
    """The pictures and one of height 33 among them, 00003b.jpg."""
    from PIL import Image

    folder = tmp_path / "odd"
    shutil.copytree(pictures, folder)
    Image.new("RGB", (40, 33)).save(folder / "00003b.jpg")
    return folder


def test_processes_give_the_records_of_one_and_a_killed_one_fails_its_picture_alone(
    pictures: Path, with_odd_one: Path, detector: Detector, tmp_path: Path
) -> None:
    result = extract([with_odd_one], tmp_path / "s", detector=Faulty(detector, "kill"), workers=2)
    assert (result.stored, result.failed) == (12, 1)
    (failure,) = failures_of(result.failures)
    assert failure["image_id"] == "file:00003b" and "killed by SIGKILL" in failure["error"]
    extract([pictures], tmp_path / "one", detector=detector, workers=1)
    assert records(tmp_path / "s") == records(tmp_path / "one")


def test_bug_in_a_worker_is_raised_with_its_traceback(with_odd_one: Path, detector: Detector) -> None:
    faulty = Faulty(detector, "bug")
    setup = Setup(faulty, detector.fingerprint, Recipe(), store_header(detector, Recipe(), "float16"))
    jobs = [Job(0, with_odd_one / "00001.jpg", "file:1"), Job(1, with_odd_one / "00003b.jpg", "file:3")]
    outcomes = describe_in_parallel(jobs, setup)
    assert next(outcomes).num_regions >= 10
    with pytest.raises(RuntimeError, match=r"(?s)00003b\.jpg.*ValueError: a bug"):
        next(outcomes)


def test_lack_of_memory_fails_the_picture(with_odd_one: Path, detector: Detector, tmp_path: Path) -> None:
    result = extract([with_odd_one], tmp_path / "s", detector=Faulty(detector, "memory"), workers=1)
    assert result.failed == 1 and "not enough memory for its 40 x 33" in failures_of(result.failures)[0]["error"]


def test_worker_that_cannot_start_is_an_error_not_a_hang(pictures: Path, detector: Detector, tmp_path: Path) -> None:
    class Local(Faulty):
        pass

    with pytest.raises((RuntimeError, AttributeError, TypeError)):
        extract([pictures], tmp_path / "s", detector=Local(detector, ""), workers=2)


def test_pictures_of_one_size_go_together_and_give_the_same_numbers(
    with_odd_one: Path, detector: Detector, tmp_path: Path
) -> None:
    counted = Counting(detector)
    extract([with_odd_one], tmp_path / "batched", detector=counted, batch_size=4)
    assert sorted(counted.sizes) == [1, 4, 4, 4]  # the one of another size goes alone
    extract([with_odd_one], tmp_path / "alone", detector=detector, batch_size=1)
    with RegionStore.open(tmp_path / "batched") as batched, RegionStore.open(tmp_path / "alone") as alone:
        assert batched.image_ids() == alone.image_ids()
        for image_id in alone.image_ids():
            np.testing.assert_allclose(batched.get(image_id).boxes, alone.get(image_id).boxes, atol=1e-3)
            np.testing.assert_allclose(batched.get(image_id).features, alone.get(image_id).features, atol=2e-3)


class Counting(Faulty):
    """The packaged detector, which notes how many pictures it is given at once."""

    def __init__(self, detector: Detector) -> None:
        super().__init__(detector, "")
        self.sizes: list[int] = []

    def detect_batch(self, images: list[np.ndarray], boxes: list[np.ndarray] | None) -> list[Detections]:
        self.sizes.append(len(images))
        return self.detector.detect_batch(images, boxes)


def test_batch_in_which_one_picture_fails_stores_the_others(pictures: Path, detector: Detector, tmp_path: Path) -> None:
    boxes = {f"file:{number:05d}": np.array([[10.0, 10, 60, 60]]) for number in range(12)}
    boxes["file:00003"] = np.array([[10.0, 10, 600, 60]])  # far outside
    result = extract([pictures], tmp_path / "s", detector=detector, recipe="given-boxes", boxes=boxes, batch_size=4)
    assert (result.stored, result.failed) == (11, 1)
    assert failures_of(result.failures)[0]["image_id"] == "file:00003"


def test_id_that_is_too_long_fails_its_picture_alone(pictures: Path, detector: Detector, tmp_path: Path) -> None:
    result = extract([pictures], tmp_path / "s", detector=detector, image_id_pattern="file:" + "x" * 510 + "{stem}")
    assert (result.stored, result.failed) == (0, 12)
    assert "more than 511 bytes" in failures_of(result.failures)[0]["error"]


def test_batches_in_several_processes_are_refused(pictures: Path, detector: Detector, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--batch-size 4 --workers 2: each of several processes"):
        extract([pictures], tmp_path / "s", detector=detector, workers=2, batch_size=4)


EXTRACTION = """
import sys
from vltool.detectors import load_detector
from vltool.features.describe import Job
from vltool.features.extract import extract, store_header
detector = load_detector(device="cpu", precision="float32")
extract([sys.argv[1]], sys.argv[2], detector=detector, workers=int(sys.argv[3]),
        progress=lambda done, total: print(done, flush=True))
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_killed_extraction_goes_on_and_ends_with_the_same_store(
    pictures: Path, detector: Detector, tmp_path: Path, how: int
) -> None:
    script = tmp_path / "script.py"  # without `if __name__ == "__main__"`, as people write them
    script.write_text(EXTRACTION)
    command = [sys.executable, str(script), str(pictures), str(tmp_path / "s"), "2"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line == "4\n":
                process.send_signal(how)
                break
    assert process.returncode != 0
    assert wait_until_nobody_runs(process.pid)
    assert verify(tmp_path / "s") == []
    result = extract([pictures], tmp_path / "s", detector=detector, workers=1)
    assert result.stored + result.skipped == 12
    extract([pictures], tmp_path / "whole", detector=detector, workers=1)
    assert records(tmp_path / "s") == records(tmp_path / "whole")


def wait_until_nobody_runs(session: int) -> bool:
    """Whether the workers of a session end by themselves once their parent is gone."""
    for _ in range(100):
        found = subprocess.run(["ps", "-s", str(session), "-o", "pid="], capture_output=True, text=True, check=False)
        if not found.stdout.strip():
            return True
        time.sleep(0.1)
    return False
