"""A store's region features into a file or folder of another tool, in the order they were imported in."""

from __future__ import annotations

import string
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vltool.datasets.image_ids import number_of, stem_of
from vltool.errors import ConfigError, DataError, StoreError, VltoolError
from vltool.features import record
from vltool.features.failures import Failures, failures_path
from vltool.features.folder import expanded
from vltool.features.formats import format_called
from vltool.features.formats.format import About, Format
from vltool.features.store import RegionStore
from vltool.structures import RegionFeatures


@dataclass(frozen=True)
class ExportResult:
    """What an export did. images = written + failed."""

    format: str
    images: int
    written: int
    failed: int
    regions: int
    bytes: int
    seconds: float
    notes: list[str]
    failures: str | None  # path of the JSON lines that list what failed; None where nothing did


@dataclass(frozen=True)
class Place:
    """Where a record stood in the file it came from, and how it was called there."""

    file: str
    row: int
    image_id: str
    name: str


def export_features(
    format_name: str,
    store_path: str | Path,
    dest: str | Path,
    *,
    key: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ExportResult:
    """Writes a store's region features as another tool does.

    key: pattern of the pictures' names there, with {id} (without its data set), {number} and {stem}, as in
    COCO_val2014_{number:012}. Default: the names they were imported with, where it is the same format, or else the
    format's own. Pictures that the format cannot hold are listed and left out.
    Raises DataError where `dest` exists, and where a format needs pixels that the store does not know.
    """
    started = time.monotonic()
    format, dest = format_called(format_name), expanded(dest)
    counts: Counter[str] = Counter()
    with RegionStore.open(store_path) as store:
        name_of = Namer(format, key, same_format=store.header.get("source", {}).get("format") == format.name)
        places, about = survey(store)
        failures: Failures | None = None
        names: set[str] = set()
        with or_say_why(dest), format.write(dest, about) as writer:
            for number, place in enumerate(places):
                try:
                    name = name_of(place)
                    if name in names:
                        raise DataError(f"a second picture called {name!r} there; give --key another pattern")
                    regions, source = read(store, place.image_id)
                    regions = completed(regions, format, counts, store)
                    writer.add(name, regions, source.get("extra", {}) if name_of.same_format else {})
                    names.add(name)
                    counts["written"] += 1
                    counts["regions"] += regions.num_regions
                except DataError as error:
                    if failures is None:
                        failures = Failures(dest, tried={str(store.path)})
                    failures.add(store.path, place.image_id, str(error))
                    counts["failed"] += 1
                if progress is not None:
                    progress(number + 1, len(places))
            if not counts["written"]:
                raise DataError(f"{store.path}: nothing to write: {counts['failed']} of its images failed")
    if failures is None:
        failures_path(dest).unlink(missing_ok=True)
    return ExportResult(
        format=format.name,
        images=len(places),
        written=counts["written"],
        failed=counts["failed"],
        regions=counts["regions"],
        bytes=size_of(dest),
        seconds=round(time.monotonic() - started, 3),
        notes=[f"{name}: {count:,} images" for name, count in sorted(counts.items()) if " " in name],
        failures=None if failures is None else str(failures.path),
    )


@contextmanager
def or_say_why(dest: Path) -> Iterator[None]:
    """Raises StoreError where the system refuses to write."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # h5py raises both
        reason = getattr(error, "strerror", None) or str(error)
        raise StoreError(f"{dest}: cannot be written: {reason}. Is the disk full? Nothing of it is left") from error


def read(store: RegionStore, image_id: str) -> tuple[RegionFeatures, dict[str, Any]]:
    """A record and its source. Raises DataError where it is damaged: that is the picture's fault alone."""
    try:
        return store.get(image_id), store.source(image_id)
    except StoreError as error:
        raise DataError(str(error)) from error


def survey(store: RegionStore) -> tuple[list[Place], About]:
    """Where every record stood, in that order, and what a writer wants to know before the first."""
    places, num_regions = [], Counter[int]()
    with store.environment.reading() as transaction:
        for key, data in transaction.cursor().iternext():
            if bytes(key[:1]) == b"\0":
                continue
            image_id = bytes(key).decode(errors="replace")
            try:
                header, _ = record.read_header(data)
                source = header["source"]
                place = Place(source.get("file", ""), int(source.get("row", 0)), image_id, source.get("name", ""))
                num_regions[header["arrays"]["features"][1][0]] += 1
            except (StoreError, TypeError, ValueError, struct.error):
                place = Place("", 0, image_id, "")  # damaged: said so when it is read
            places.append(place)
    if not places:
        raise StoreError(f"{store.path}: holds no images; nothing to write")
    places.sort(key=lambda place: (str(place.file), int(place.row), place.image_id))
    usual_count = next((count for count, _ in num_regions.most_common(1)), 0)
    return places, About(len(places), usual_count, store.feature_dim, tuple(store.header["class_names"]))


class Namer:
    """From a record to the name that a format gives its picture."""

    def __init__(self, format: Format, key: str | None, *, same_format: bool) -> None:
        self.format, self.key = format, key
        self.same_format = same_format
        if key is not None:
            try:
                fields = {name for _, name, _, _ in string.Formatter().parse(key) if name is not None}
            except ValueError as error:
                raise ConfigError(f"--key {key!r}: {error}") from error
            if not fields or fields - {"id", "number", "stem"}:
                raise ConfigError(f"--key {key!r}: expected {{id}}, {{number}} or {{stem}}, as in COCO_{{number:012}}")

    def __call__(self, place: Place) -> str:
        stem = stem_of(place.name) if place.name else ""
        if self.key is None:
            if self.same_format and place.name:
                return place.name
            return self.format.key_of(place.image_id, stem)
        rest = place.image_id.partition(":")[2] or place.image_id
        values: dict[str, Any] = {"id": rest, "stem": stem or rest}
        if "{number" in self.key:
            values["number"] = number_of(rest)
        try:
            return self.key.format(**values)
        except (ValueError, LookupError, AttributeError) as error:
            raise ConfigError(f"--key {self.key!r}: {error}") from error


def completed(regions: RegionFeatures, format: Format, counts: Counter[str], store: RegionStore) -> RegionFeatures:
    """The regions with what the format needs and the store lacks: zeros, or ones for the classes' scores."""
    if format.needs_pixels and (regions.height, regions.width) == (1, 1):
        raise PixelsUnknown(
            f"{store.path}: image {regions.image_id!r} has boxes as shares of the picture, and {format.name} needs "
            "pixels. Import the features again with --sizes"
        )
    missing: dict[str, Any] = {}
    for name in format.needs:
        if getattr(regions, name) is None:
            filler = np.ones if name == "scores" else np.zeros
            missing[name] = filler(regions.num_regions, np.int64 if name in ("classes", "attributes") else np.float32)
            counts[f"no {name} in the store, {'ones' if name == 'scores' else 'zeros'} are written"] += 1
    return replace(regions, **missing) if missing else regions


class PixelsUnknown(VltoolError):
    """The store does not know the size of the pictures."""


def size_of(dest: Path) -> int:
    files = dest.rglob("*") if dest.is_dir() else [dest]
    return sum(path.stat().st_size for path in files if path.is_file())
