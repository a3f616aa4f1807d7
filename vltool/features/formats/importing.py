"""Region features of other tools into a store: a row at a time, what is wrong with a row listed by its picture.

A record's source then says where it came from, so that the same format can be written again as it was:
    {"name": "COCO_train2014_000000132417", "file": "train2014_obj36.tsv", "row": 0}
and the store's header, beside what every header has ("backend": "imported"):
    "source": {"format": "lxmert-tsv", "name": "train2014_obj36.tsv", "bytes": 2766267, "sha256": "ab12…"}
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vltool.datasets.image_ids import ImageNamer
from vltool.errors import ConfigError, DataError, StoreError, VltoolError
from vltool.features.failures import Failures
from vltool.features.folder import expanded
from vltool.features.formats import format_called
from vltool.features.formats.arrays import DAMAGE, at_size, check
from vltool.features.formats.format import Content, Entry, Format
from vltool.features.header import check_same_origin, make_header
from vltool.features.store import RegionStore, encode_for
from vltool.structures import ImageId, RegionFeatures

DEFAULT_IMAGE_ID = "coco:{number}"
COCO_NAME = re.compile(r"(?:.*[/\\])?(?:coco_(?:[a-z0-9]+_)?)?\d+(\.\w+)?", re.IGNORECASE)
MOST_HASHED = 2**30  # bytes; of larger files, size and time of change count
PER_REGION = ("classes", "scores", "attributes", "attribute_scores")


@dataclass(frozen=True)
class ImportResult:
    """What an import did. images = stored + skipped (there already) + failed; regions of the stored ones."""

    format: str
    images: int
    stored: int
    skipped: int
    failed: int
    regions: int
    feature_dim: int
    dtype: str
    image_id: str  # the pattern
    fingerprint: str
    seconds: float
    images_per_second: float
    notes: list[str]
    failures: str  # path of the JSON lines that list what failed


def import_features(
    format_name: str,
    source: str | Path,
    store_path: str | Path,
    *,
    image_id_pattern: str | None = None,
    dtype: str | None = None,
    origin: str | None = None,
    sizes: Mapping[str, tuple[int, int]] | None = None,
    aliases: Mapping[ImageId, ImageId] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ImportResult:
    """Region features of a file or folder of another tool into the store at `store_path`.

    image_id_pattern: as in flickr30k:{stem}; default coco:{number}, for names that can be COCO's. dtype: default the
    source's. origin: a name for what made the features; stores of one origin can be merged, and several files of it
    imported into one store (default: the source file's hash). sizes: (width, height) by image id, for formats that
    lack them. aliases: ids under which pictures are known better (vg: → coco:). progress(done, total) is called after
    every row; total may be an estimate.
    Rows that are damaged, or are the second of their picture, are listed and left out. Raises DataError where no row
    can be read, StoreError where the store holds features of another origin.
    """
    format = format_called(format_name)
    source = expanded(source)
    if not source.exists():
        raise DataError(f"{source}: no such file or folder")
    importer = Importer(format, source, expanded(store_path), image_id_pattern, dtype, origin, sizes or {}, aliases)
    with importer:
        for entry in entries_of(format, source):
            importer.take(entry)
            if progress is not None:
                progress(entry.number + 1, entry.total)
        return importer.result()


def entries_of(format: Format, source: Path) -> Any:
    """The rows of a source. Raises DataError, naming the source, where it is not of this format."""
    try:
        yield from format.read(source)
    except DataError as error:
        prefix = "" if str(source) in str(error) else f"{source}: "
        raise DataError(f"{prefix}{error}; is it {format.name}?") from error
    except OSError as error:
        raise DataError(f"{source}: cannot be read: {error.strerror or error}; is it {format.name}?") from error


class Importer:
    """Takes rows into a store, which is made for the first good one."""

    def __init__(
        self,
        format: Format,
        source: Path,
        store_path: Path,
        image_id_pattern: str | None,
        dtype: str | None,
        origin: str | None,
        sizes: Mapping[str, tuple[int, int]],
        aliases: Mapping[ImageId, ImageId] | None = None,
    ) -> None:
        self.started = time.monotonic()
        self.format, self.source, self.sizes = format, source, sizes
        self.has_default_pattern = image_id_pattern is None
        self.namer = ImageNamer(image_id_pattern or DEFAULT_IMAGE_ID, aliases)
        self.dtype = dtype
        self.about = describe_source(format, source)
        self.fingerprint = fingerprint_of(self.about, origin)
        self.store_path = store_path.parent if store_path.name == "data.mdb" else store_path
        self.detector = {"name": origin or f"imported from {source.name}"}
        self.counts: Counter[str] = Counter()
        self.left_out: Counter[str] = Counter()
        self.num_outside = self.num_without_size = 0
        self.first_error = ""
        self.store: RegionStore | None = None
        if (self.store_path / "data.mdb").is_file():
            self.store = RegionStore.open(self.store_path, mode="a")
            try:
                wanted = {**self.store.header, **self.identity(), **({"dtype": dtype} if dtype else {})}
                check_same_origin(self.store.header, wanted, where=str(self.store_path))
            except BaseException:
                self.store.close()
                raise
        self.failures: Failures | None = None

    def identity(self) -> dict[str, Any]:
        return {"backend": "imported", "fingerprint": self.fingerprint, "recipe": {"name": "imported"}}

    def take(self, entry: Entry) -> None:
        """Stores a row, skips it where it is there already, or lists what is wrong with it."""
        image_id = None
        try:
            image_id = self.name(entry)
            if self.store is not None and image_id in self.store:
                self.check_same_row(entry, image_id)
                self.counts["skipped"] += 1
                return
            content = self.read(entry, image_id)
        except ConfigError:
            raise
        except VltoolError as error:
            self.fail(entry, image_id, str(error))
            return
        store = self.store_for(content)  # raises where there can be no store, which is no fault of the row
        try:
            regions = RegionFeatures(image_id, **arrays_of(content))
            data = encode_for(regions, self.source_of(entry, content), store.header)
        except StoreError as error:
            self.fail(entry, image_id, str(error))
            return
        store.put_encoded(image_id, data, regions.num_regions)
        self.counts["stored"] += 1
        self.counts["regions"] += regions.num_regions

    def name(self, entry: Entry) -> ImageId:
        if self.has_default_pattern and entry.key and not COCO_NAME.fullmatch(entry.key):
            raise DataError(
                f"image name {entry.key[:80]!r} is not one of COCO's; say how pictures are called: "
                "--image-id flickr30k:{stem}, or another pattern"
            )
        return self.namer(entry.key)

    def check_same_row(self, entry: Entry, image_id: str) -> None:
        """Raises DataError where the store's record came from another row."""
        assert self.store is not None
        found = self.store.source(image_id)
        if (found.get("file"), found.get("row")) != (self.source.name, entry.number):
            raise DataError(
                f"a second row for image {image_id!r}; kept is row {found.get('row', '?')} "
                f"({found.get('name', '?')}) of {found.get('file', '?')}"
            )

    def read(self, entry: Entry, image_id: str) -> Content:
        """The content of a row, checked, with boxes in pixels. Raises DataError where it is damaged."""
        try:
            content = entry.read()
            check(content)
        except VltoolError:
            raise
        except DAMAGE as error:
            raise DataError(f"damaged: {error!r:.200}") from error
        if content.height is None:
            width_height = self.sizes.get(image_id)
            content = at_size(content, None if width_height is None else (width_height[1], width_height[0]))
            self.num_without_size += width_height is None
        limits = np.array([content.width, content.height] * 2, np.float32) * 1.01 + 1
        self.num_outside += bool((content.boxes < -1).any() or (content.boxes > limits).any())
        self.left_out.update(content.left_out)
        wide = self.dtype is None and self.store is not None and self.store.header["dtype"] == "float16"
        if wide and content.features.dtype.itemsize > 2:
            raise DataError(f"{content.features.dtype} features among float16 ones; import with --dtype float32")
        return content

    def store_for(self, content: Content) -> RegionStore:
        if self.store is None:
            header = make_header(
                feature_dim=content.features.shape[1],
                dtype=self.dtype or ("float16" if content.features.dtype.itemsize == 2 else "float32"),
                precision="unknown",
                detector=self.detector,
                class_names=self.format.class_names(self.source),
                **self.identity(),
            )
            self.store = RegionStore.create(self.store_path, {**header, "source": self.about})
        return self.store

    def source_of(self, entry: Entry, content: Content) -> dict[str, Any]:
        about: dict[str, Any] = {"name": entry.key, "file": self.source.name, "row": entry.number}
        if content.extra:
            about["extra"] = dict(content.extra)
        return about

    def fail(self, entry: Entry, image_id: str | None, error: str) -> None:
        self.counts["failed"] += 1
        self.first_error = self.first_error or f"{entry.place}: {error}"
        self.list_of_failures().add(self.source, image_id or entry.key, f"{self.source}: {entry.place}: {error}")

    def list_of_failures(self) -> Failures:
        if self.failures is None:
            self.store_path.parent.mkdir(parents=True, exist_ok=True)
            self.failures = Failures(self.store_path, tried={str(self.source)})
        return self.failures

    def result(self) -> ImportResult:
        """Finishes the store. Raises DataError where nothing is in it."""
        failures = self.list_of_failures()
        images = self.counts["stored"] + self.counts["skipped"] + self.counts["failed"]
        if self.store is None or not (self.counts["stored"] or self.counts["skipped"]):
            if not images:
                raise DataError(f"{self.source}: no rows in it")
            raise DataError(
                f"{self.source}: none of its {images:,} rows can be imported as {self.format.name}; "
                f"the first: {self.first_error}"
            )
        self.store.flush(complete=self.counts["failed"] == 0)
        seconds = time.monotonic() - self.started
        return ImportResult(
            format=self.format.name,
            images=images,
            stored=self.counts["stored"],
            skipped=self.counts["skipped"],
            failed=self.counts["failed"],
            regions=self.counts["regions"],
            feature_dim=self.store.feature_dim,
            dtype=self.store.header["dtype"],
            image_id=self.namer.pattern,
            fingerprint=self.fingerprint,
            seconds=round(seconds, 3),
            images_per_second=round(images / seconds, 2),
            notes=self.notes(),
            failures=str(failures.path),
        )

    def notes(self) -> list[str]:
        notes = [f"{name} of {count:,} images is not kept" for name, count in sorted(self.left_out.items())]
        if self.num_without_size:
            notes.append(
                f"{self.num_without_size:,} images of unknown size: their boxes are shares of a picture of 1 x 1; "
                "give --sizes for pixels"
            )
        if self.num_outside:
            notes.append(f"{self.num_outside:,} images with boxes outside of the picture: are their sizes right?")
        return notes

    def __enter__(self) -> Importer:
        return self

    def __exit__(self, *error: object) -> None:
        if self.store is not None:
            self.store.close()


def arrays_of(content: Content) -> dict[str, Any]:
    """A checked content's values as RegionFeatures takes them."""
    widest = content.features.dtype.itemsize > 4
    narrow = replace(content, features=content.features.astype(np.float32)) if widest else content
    assert narrow.height is not None and narrow.width is not None
    return {name: getattr(narrow, name) for name in ("features", "boxes", "height", "width", *PER_REGION)}


def describe_source(format: Format, source: Path) -> dict[str, Any]:
    """What a header says of the source: its name, size, and a hash of its content, or of sizes and times of change."""
    path = source / "data.mdb" if (source / "data.mdb").is_file() else source
    digest = hashlib.sha256()
    about: dict[str, Any] = {"format": format.name, "name": source.name}
    if path.is_dir():
        files = sorted(item for item in path.rglob("*") if item.is_file() and not item.name.endswith(".lock"))
        stats = [item.stat() for item in files]
        for item, stat in zip(files, stats, strict=True):
            digest.update(f"{item.relative_to(path)}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
        return {**about, "bytes": sum(stat.st_size for stat in stats), "sha256_of_listing": digest.hexdigest()}
    stat = path.stat()
    if stat.st_size > MOST_HASHED:
        return {**about, "bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns}
    with path.open("rb") as file:
        return {**about, "bytes": stat.st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def fingerprint_of(about: Mapping[str, Any], origin: str | None) -> str:
    """What tells features of one origin from others: the name that was given to it, or what the source is."""
    known = {"origin": origin} if origin else {name: value for name, value in about.items() if name != "name"}
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


def read_sizes(path: str | Path) -> dict[str, tuple[int, int]]:
    """(width, height) by image id, from a JSON file {"coco:391895": [640, 480]}. Raises DataError for other files."""
    try:
        sizes = json.loads(Path(path).read_text(encoding="utf-8"))
        return {image_id: (int(width), int(height)) for image_id, (width, height) in sizes.items()}
    except (AttributeError, OSError, OverflowError, RecursionError, TypeError, ValueError) as error:
        raise DataError(f'{path}: expected JSON, {{"coco:391895": [width, height]}}: {error}') from error
