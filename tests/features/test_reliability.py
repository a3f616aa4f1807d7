"""Extraction survives what people give it: difficult files, and being killed twenty times."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from tests.features.conftest import draw
from vltool.detectors.detector import Detector
from vltool.errors import StoreError
from vltool.features.compare import compare
from vltool.features.extract import extract
from vltool.features.images import read_image
from vltool.features.store import RegionStore, verify

NUM_KILLS = 20
NUM_PICTURES = 400  # as many as an undisturbed run is some seconds at


def test_every_difficult_file_is_stored_upright_or_listed_with_its_reason(
    shared_data: Path, detector: Detector, tmp_path: Path
) -> None:
    folder = shared_data / "robustness"
    facts = json.loads((folder / "MANIFEST.json").read_text(encoding="utf-8"))["files"]
    paths = [shared_data / name for name in facts]
    pattern = "file:{parent}/{name}"
    result = extract(paths, tmp_path / "s", detector=detector, image_id_pattern=pattern, workers=2)
    failures = {
        line["path"]: line["error"] for line in map(json.loads, Path(result.failures).read_text("utf-8").splitlines())
    }
    assert result.images == len(facts) == result.stored + result.failed
    with RegionStore.open(tmp_path / "s") as store:
        for name, known in facts.items():
            path = shared_data / name
            image_id = f"file:{path.parent.name}/{path.name}"
            if known.get("load") == "ok":
                regions = store.get(image_id)
                assert (regions.height, regions.width) == read_image(path).shape[:2], name
                assert regions.num_regions >= 1 and np.isfinite(regions.features).all(), name
                assert store.source(image_id)["orientation"] == (known["exif_orientation"] or 1), name
            else:
                assert image_id not in store
                assert name in failures[str(path)], name
    assert len(failures) == result.failed


@pytest.mark.slow
def test_twenty_kills_end_in_the_store_of_an_undisturbed_run(tmp_path: Path) -> None:
    for number in range(NUM_PICTURES):
        draw(tmp_path / "pictures" / f"{number:05d}.jpg", number % 100)
    command = [sys.executable, "-m", "vltool", "extract-features", str(tmp_path / "pictures"), "--json"]
    command += ["--workers", "2", "--out"]
    subprocess.run([*command, str(tmp_path / "whole")], check=True, capture_output=True)
    moments = random.Random(0)
    num_interrupted = 0
    for turn in range(NUM_KILLS):
        process = subprocess.Popen(
            [*command, str(tmp_path / "s")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        enough = NUM_PICTURES * turn // NUM_KILLS  # each turn gets a little further, however busy the machine is
        while process.poll() is None and num_stored(tmp_path / "s") < enough:
            time.sleep(0.02)
        time.sleep(moments.uniform(0, 0.3))
        num_interrupted += process.poll() is None
        if turn % 2:
            with suppress(ProcessLookupError):  # it may just have ended
                os.killpg(process.pid, signal.SIGKILL)  # its workers with it
        else:
            process.kill()
        process.wait()
        if (tmp_path / "s" / "data.mdb").exists():
            assert verify(tmp_path / "s") == []
    assert num_interrupted > NUM_KILLS // 2
    last = subprocess.run([*command, str(tmp_path / "s")], check=True, capture_output=True)
    result = json.loads(last.stdout)
    assert result["stored"] + result["skipped"] == NUM_PICTURES
    found = compare(tmp_path / "s", tmp_path / "whole")
    assert found["images"] == NUM_PICTURES
    with RegionStore.open(tmp_path / "s") as killed, RegionStore.open(tmp_path / "whole") as whole:
        assert killed.image_ids() == whole.image_ids()
        assert killed.header == whole.header
        for image_id in whole.image_ids():
            assert killed.source(image_id) == whole.source(image_id)
            np.testing.assert_array_equal(killed.get(image_id).features, whole.get(image_id).features)
            np.testing.assert_array_equal(killed.get(image_id).boxes, whole.get(image_id).boxes)


def num_stored(store: Path) -> int:
    """How many pictures are in a store that somebody may be writing, or has not begun yet."""
    try:
        with RegionStore.open(store) as found:
            return len(found.image_ids())
    except StoreError:
        return 0
