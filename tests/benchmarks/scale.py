"""What a Ray cluster costs over processes of one machine: python -m tests.benchmarks.scale [PART …] [--pictures N]

extraction: pictures with the world detector, by both engines with 1, 2 and 4 workers, beside what the model of
docs/scale.md says from other runs of one worker (a quarter of the pictures, all, all in more shards).
tasks: jobs that do nothing.
merge: shards of 36 x 2048 features into one store. training: updates of the tests' miniature in 1, 2 and 4 processes.

Processor time is that of all processes that were started, looked up in /proc five times a second; it is what other
work on the machine disturbs least. With more workers than cores, wall-clock time says nothing of a cluster.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.scale_model import Extraction, Run, fit, table, update_of
from tests.features.conftest import draw
from vltool.detectors import load_detector
from vltool.engines.engine import Engine
from vltool.engines.launch import Ended, launch
from vltool.engines.local import LocalEngine, num_cores
from vltool.engines.ray import RayEngine, cluster
from vltool.engines.ray_group import launch_on_ray
from vltool.features import shards
from vltool.features.extract import extract
from vltool.features.header import make_header
from vltool.features.merge import merge
from vltool.features.shards import num_shards
from vltool.features.store import RegionStore
from vltool.structures import ImageId, RegionFeatures

WORKERS = (1, 2, 4)
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Spent:
    """Seconds on the clock, and of all processors by this process and those below it."""

    wall: float = 0.0
    processor: float = 0.0
    seen: dict[tuple[int, int], float] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.wall:7.1f} s, {self.processor:7.1f} s of processor time"


@contextmanager
def measured() -> Iterator[Spent]:
    """What the block takes, and all processes that it starts."""
    spent, over = Spent(), threading.Event()

    def look() -> None:
        parents, times = {}, {}
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                after_name = path.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            pid = int(path.parent.name)
            parents[pid] = int(after_name[1])
            times[pid, int(after_name[19])] = (int(after_name[11]) + int(after_name[12])) / TICKS
        for (pid, started), seconds in times.items():
            if is_below(pid, parents):
                spent.seen[pid, started] = seconds

    def keep_looking() -> None:
        while not over.wait(0.2):
            look()

    look()
    before = sum(spent.seen.values())
    started = time.perf_counter()
    thread = threading.Thread(target=keep_looking)
    thread.start()
    try:
        yield spent
    finally:
        spent.wall = time.perf_counter() - started
        look()
        over.set()
        thread.join()
        spent.processor = sum(spent.seen.values()) - before


def is_below(pid: int, parents: dict[int, int]) -> bool:
    while pid and pid != os.getpid():
        pid = parents.get(pid, 0)
    return pid == os.getpid()


def nothing(_: int) -> None:
    """A job."""


def benchmark_tasks() -> None:
    """Seconds until the first of many empty jobs is done, and of each after it."""
    engines: dict[str, Engine] = {"local": LocalEngine(2), "ray": RayEngine(2, num_threads=1)}
    for name, engine in engines.items():
        times: list[float] = []
        started = time.perf_counter()
        with measured() as spent:
            for _ in engine.run(nothing, list(range(200))):
                times.append(time.perf_counter() - started)
        each = 1000 * (times[-1] - times[2]) / (len(times) - 3)
        print(f"tasks {name:6} first after {times[0]:5.1f} s, each {each:5.1f} ms, in all {spent}", flush=True)


def benchmark_extraction(folder: Path, num_pictures: int) -> None:
    """The pictures by both engines, and beside Ray's what the model says, from runs of one worker before."""
    for number in range(num_pictures):
        draw(folder / "pictures" / f"{number:05d}.jpg", number % 100)
    pictures = sorted(str(path) for path in (folder / "pictures").iterdir())
    detector = load_detector(device="cpu", precision="float32")

    def took(name: str, workers: int, pictures: list[str] = pictures) -> Spent:
        engine = RayEngine(workers, num_threads=1) if name == "ray" else None
        with measured() as spent, tempfile.TemporaryDirectory(dir=folder) as place:
            found = extract(pictures, Path(place) / "store", detector=detector, workers=workers, engine=engine)
        assert found.stored == len(pictures)
        each = 1000 * spent.processor / len(pictures)
        print(
            f"extraction {name:6} {workers} workers, {len(pictures)} pictures: {spent}, {each:.0f} ms a picture",
            flush=True,
        )
        return spent

    with measured() as alone, cluster("", num_cpus=1):
        pass
    processor, wall = fitted_extraction(alone, lambda part: took("ray", 1, part), pictures)
    print(f"model, processor time: {processor}\nmodel, on the clock:   {wall}")
    rows: list[tuple[object, ...]] = [
        (
            "workers",
            "shards",
            "processor time by Ray: measured, predicted",
            "on the clock: measured, predicted",
            "local",
        )
    ]
    for workers in WORKERS:
        here, there = took("local", workers), took("ray", workers)
        size = (workers, num_pictures, num_shards(num_pictures, workers))
        seconds = wall.wall(*size, num_cores=num_cores())
        expected = ((there.processor, processor.processor(*size)), (there.wall, seconds))
        rows.append((workers, size[2], *expected, f"{here.processor:.1f} s, {here.wall:.1f} s"))
    print(table(rows), flush=True)


def fitted_extraction(
    alone: Spent, took: Callable[[list[str]], Spent], pictures: list[str]
) -> tuple[Extraction, Extraction]:
    """The model's parts in processor time and on the clock. alone: a cluster without work. took: by one worker."""
    few, all_ = pictures[: len(pictures) // 4], pictures
    runs = [(took(part), len(part), num_shards(len(part), 1)) for part in (few, all_)]
    most = shards.MOST_PICTURES
    shards.MOST_PICTURES = shards.FEWEST_PICTURES  # the same pictures in more shards
    try:
        runs.append((took(all_), len(all_), num_shards(len(all_), 1)))
    finally:
        shards.MOST_PICTURES = most
    processor = fit(alone.processor, *(Run(spent.processor, *size) for spent, *size in runs))
    return processor, fit(alone.wall, *(Run(spent.wall, *size) for spent, *size in runs))


def benchmark_merge(folder: Path, num_pictures: int = 512, num_parts: int = 4) -> None:
    """Shards of features of the usual size into one store."""
    generator = np.random.default_rng(0)
    header = make_header(feature_dim=2048, backend="benchmark", fingerprint="0", recipe={"name": "random"})
    features = generator.random((36, 2048), np.float32)
    boxes = generator.random((36, 4), np.float32)
    parts = [folder / f"shard{number}" for number in range(num_parts)]
    for number, path in enumerate(parts):
        with RegionStore.create(path, header) as store:
            for k in range(number, num_pictures, num_parts):
                store.put(RegionFeatures(ImageId(f"coco:{k}"), features, boxes, 480, 640))
    with measured() as spent:
        merge(parts, folder / "merged")
    size = (folder / "merged" / "data.mdb").stat().st_size
    print(
        f"merge {num_pictures} pictures, {size / 1e6:.0f} MB: {spent}; {size / 1e6 / spent.processor:.0f} MB/s of "
        f"processor time, {1e6 * spent.processor / num_pictures:.0f} microseconds a picture",
        flush=True,
    )


def benchmark_training(folder: Path) -> None:
    """The miniature in several processes: 60 updates and 240, so that what a start costs can be told from an update."""
    ways: dict[str, Callable[[list[str], int], Ended]] = {
        "local": lambda arguments, size: launch([sys.executable, *arguments], size),
        "ray": lambda arguments, size: launch_on_ray(arguments, size, say=lambda text: None),
    }
    os.environ["OMP_NUM_THREADS"] = "1"
    updates: dict[tuple[str, int], float] = {}
    for size in WORKERS:
        for name, way in ways.items():
            spent: dict[int, Spent] = {}
            for times in (1, 4):
                place = folder / f"{name}-{size}-{times}"
                place.mkdir()
                with measured() as spent[times]:
                    ended = way(["-m", "tests.training.together", str(place), "-1", str(times)], size)
                assert ended.code == 0, ended.message
            update = updates[name, size] = (spent[4].processor - spent[1].processor) / 180
            start = spent[1].processor - 60 * update
            print(
                f"training {name:6} {size} processes: 240 updates {spent[4]}; an update {1000 * update:.1f} ms and the "
                f"start {start:.1f} s of processor time",
                flush=True,
            )
    for name in ways:
        found = 1000 * update_of(4, updates[name, 1], updates[name, 2])
        print(
            f"training {name:6} 4 processes: an update {1000 * updates[name, 4]:.1f} ms of processor time, the model "
            f"from 1 and 2 processes says {found:.1f} ms",
            flush=True,
        )


def main() -> None:
    parts: dict[str, Callable[[Path, Any], None]] = {
        "tasks": lambda folder, options: benchmark_tasks(),
        "extraction": lambda folder, options: benchmark_extraction(folder, options.pictures),
        "merge": lambda folder, options: benchmark_merge(folder),
        "training": lambda folder, options: benchmark_training(folder),
    }
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(parts)}; default: all")
    parser.add_argument("--pictures", type=int, default=200)
    options = parser.parse_args()
    if options.pictures < 64:
        parser.error("--pictures: 64 or more, so that one worker has as many shards as can be told apart")
    load = os.getloadavg()[0]
    print(f"{num_cores()} cores, load {load:.1f}", flush=True)
    for name in options.parts or parts:
        with tempfile.TemporaryDirectory() as folder:
            parts[name](Path(folder), options)


if __name__ == "__main__":
    main()
