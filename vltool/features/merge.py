"""Stores of one origin, as shards of an extraction leave them, into one."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vltool.errors import DataError, StoreError
from vltool.features import record
from vltool.features.failures import Failures
from vltool.features.folder import expanded, store_folder
from vltool.features.header import IDENTITY
from vltool.features.store import RegionStore


@dataclass(frozen=True)
class MergeResult:
    """What a merge did. images = stored + skipped (there already, the same) + failed; regions of the stored ones."""

    stores: int
    images: int
    stored: int
    skipped: int
    failed: int
    regions: int
    complete: bool  # whether all the stores are, and nothing failed
    seconds: float
    failures: str  # path of the JSON lines that list what failed


def merge(
    stores: Sequence[str | Path], out: str | Path, *, progress: Callable[[int, int], None] | None = None
) -> MergeResult:
    """Puts the records of several stores into the store `out`, which is made or added to; run again, it goes on.

    Records go over byte for byte. One that is damaged, or another one than `out` has for the same image, is listed
    and left out. Raises StoreError before anything is written where the stores are not of one origin.
    """
    started = time.monotonic()
    folders = [store_folder(path) for path in stores]
    if not folders:
        raise DataError("no stores to merge: name one or more")
    target = expanded(out)
    target = target.parent if target.name == "data.mdb" else target
    if target.resolve() in {folder.resolve() for folder in folders}:
        raise DataError(f"{target}: one of the stores to merge; choose another --out")
    headers, total, complete = [], 0, True
    for folder in folders:
        with RegionStore.open(folder) as shard:
            headers.append(shard.header)
            total += len(shard)
            complete &= bool(shard.state["complete"])
    for folder, header in zip(folders, headers, strict=True):
        check_mergeable(folders[0], headers[0], folder, header)
    counts: Counter[str] = Counter()
    with RegionStore.open_or_create(target, headers[0]) as merged:
        failures = Failures(merged.path, tried={str(folder) for folder in folders})
        for folder in folders:
            with RegionStore.open(folder) as shard:
                for image_id in shard.image_ids():
                    kind, num_regions, error = copy(shard, image_id, merged)
                    counts[kind] += 1
                    counts["regions"] += num_regions
                    if error:
                        failures.add(folder, image_id, error)
                    if progress is not None:
                        progress(counts["stored"] + counts["skipped"] + counts["failed"], total)
        complete = complete and not counts["failed"]
        merged.flush(complete=complete)
    return MergeResult(
        stores=len(folders),
        images=total,
        stored=counts["stored"],
        skipped=counts["skipped"],
        failed=counts["failed"],
        regions=counts["regions"],
        complete=complete,
        seconds=round(time.monotonic() - started, 3),
        failures=str(failures.path),
    )


def check_mergeable(first: Path, header: Mapping[str, Any], second: Path, other: Mapping[str, Any]) -> None:
    """Raises StoreError where two stores hold features of different origin."""
    for name in IDENTITY:
        if header.get(name) != other.get(name):
            raise StoreError(
                f"{first} and {second} cannot be merged: {name} {header.get(name)!r} and {other.get(name)!r}. "
                "Only features of one detector, recipe and number format belong into one store"
            )


def copy(shard: RegionStore, image_id: str, merged: RegionStore) -> tuple[str, int, str]:
    """Copies a record: "stored", "skipped" or "failed", its number of regions where stored, and why it failed."""
    data = read_bytes(shard, image_id)
    if not record.is_of(image_id, data):
        return "failed", 0, f"{shard.path}: the record of image {image_id!r} is damaged; extract it again"
    if image_id not in merged:
        num_regions = int(record.read_header(data)[0]["arrays"]["features"][1][0])
        merged.put_encoded(image_id, data, num_regions)
        return "stored", num_regions, ""
    merged.flush()
    if read_bytes(merged, image_id) == data:
        return "skipped", 0, ""
    return "failed", 0, f"{shard.path}: another record for image {image_id!r} than the one that {merged.path} has"


def read_bytes(store: RegionStore, image_id: str) -> bytes:
    """A committed record as it is stored."""
    with store.environment.reading() as transaction:
        data = transaction.get(image_id.encode())
        if data is None:
            raise StoreError(
                f"{store.path}: the record of image {image_id!r} is gone; is another process writing here?"
            )
        return bytes(data)
