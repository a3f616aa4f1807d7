"""How long does a random read of 36 x 2048 features take? Run: python -m tests.benchmarks.store [--images N]

Against the layout that is common elsewhere: a pickled dictionary of float32 arrays a picture, in LMDB.
"""

from __future__ import annotations

import argparse
import pickle
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lmdb
import numpy as np

from vltool.features.header import make_header
from vltool.features.store import RegionStore
from vltool.structures import ImageId, RegionFeatures

NUM_REGIONS, FEATURE_DIM = 36, 2048
READS, ROUNDS = 1000, 7


def write(folder: Path, num_images: int) -> None:
    """The same pictures as a store and as pickles."""
    generator = np.random.default_rng(0)
    header = make_header(feature_dim=FEATURE_DIM, backend="benchmark", fingerprint="0", recipe={"name": "random"})
    pickles = lmdb.open(str(folder / "pickles"), map_size=num_images * 400_000 + 2**24)
    with RegionStore.create(folder / "store", header) as store:
        for number in range(num_images):
            features = generator.random((NUM_REGIONS, FEATURE_DIM), np.float32)
            boxes = generator.random((NUM_REGIONS, 4), np.float32)
            store.put(RegionFeatures(ImageId(f"coco:{number}"), features, boxes, 480, 640))
            value = {"image_id": str(number), "image_h": 480, "image_w": 640, "num_boxes": NUM_REGIONS}
            with pickles.begin(write=True) as transaction:
                transaction.put(str(number).encode(), pickle.dumps({**value, "boxes": boxes, "features": features}))
    pickles.close()


def microseconds(read: Callable[[int], Any], order: list[int]) -> float:
    start = time.perf_counter()
    for number in order:
        read(number)
    return (time.perf_counter() - start) / len(order) * 1e6


def first_view(store: RegionStore, name: str) -> Any:
    """A view as a process gets it the first time, its transaction included."""
    with store.views() as view:
        return view(name).features.shape


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1500)
    num_images = parser.parse_args().images
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, num_images)
        pickles = lmdb.open(str(folder / "pickles"), readonly=True, lock=False)

        names, keys = ([f"coco:{n}" for n in range(num_images)], [str(n).encode() for n in range(num_images)])

        def read_pickle(number: int) -> Any:
            with pickles.begin() as transaction:
                return pickle.loads(transaction.get(keys[number]))

        with RegionStore.open(folder / "store") as store, store.views() as view:
            readers: dict[str, Callable[[int], Any]] = {
                "pickled float32": read_pickle,
                "store, copied": lambda number: store.get(names[number]),
                "store, view, found in LMDB first": lambda number: first_view(store, names[number]),
                "store, view": lambda number: view(names[number]),
                "store, view, every number touched": lambda number: view(names[number]).features.view("u2").max(),
                "pickled float32, every number touched": lambda number: read_pickle(number)["features"].max(),
            }
            for read in readers.values():
                microseconds(read, list(range(num_images)))  # checksums, and the disk's cache
            # The rounds take turns, and the median counts, because other programs use the processor too.
            orders = [random.Random(turn).choices(range(num_images), k=READS) for turn in range(ROUNDS)]
            times: dict[str, list[float]] = {label: [] for label in readers}
            for order in orders:
                for label, read in readers.items():
                    times[label].append(microseconds(read, order))
        medians = {label: float(np.median(values)) for label, values in times.items()}
        for label, value in medians.items():
            print(f"{label:40} {value:8.1f} microseconds a picture")
        ratio = medians["pickled float32"] / medians["store, view"]
        sizes = [(folder / part / "data.mdb").stat().st_size for part in ("store", "pickles")]
        print(f"a view is {ratio:.1f} times faster than a pickle; the store has {sizes[0] / sizes[1]:.2f} of its bytes")


if __name__ == "__main__":
    main()
