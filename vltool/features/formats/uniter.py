"""UNITER's features (ChenRocks/UNITER, scripts/convert_imgdir.py and data/data.py, commit 1dbfa62), in float16.

uniter-npz: a folder of coco_val2014_000000391895.npz, each with
    features (36, 2048), norm_bb (36, 6): x1 y1 x2 y2 width height as shares of the picture, conf (36,),
    and perhaps soft_labels (36, 1601): class probabilities, the background's first
uniter-lmdb: an LMDB database of the same under the same names, .npz included. A value is a whole compressed .npz where
the folder's name ends in _compressed, otherwise msgpack with arrays as msgpack-numpy writes them. The entry "__keys__"
is a JSON list of the names. Beside a folder feat_th… lies nbb_th….json, the number of boxes by name.

The picture's size is nowhere. Without it, boxes stay shares, of a picture of 1 x 1.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgpack
import numpy as np

from vltool.errors import DataError
from vltool.features.formats.arrays import from_base64, read_npz, shares, to_base64, write_npz
from vltool.features.formats.foreign_lmdb import ForeignLmdb, LmdbWriter
from vltool.features.formats.format import About, Content, Entry, Format, Writer
from vltool.structures import RegionFeatures

NUMBERS = re.compile(r"[<>|=]?[biuf][1248]")
KNOWN = {"features", "norm_bb", "conf", "soft_labels", "allow_pickle"}  # the last: a slip of its converter, a flag


def content_of(values: Mapping[str, Any]) -> Content:
    """The regions of a picture's arrays."""
    missing = [name for name in ("features", "norm_bb") if name not in values]
    if missing:
        raise DataError(f"has no {missing[0]}; it has {', '.join(values) or 'nothing'}")
    arrays = {name: np.asarray(values[name]) for name in KNOWN & set(values)}
    boxes = arrays["norm_bb"]
    if boxes.ndim != 2 or boxes.shape[1] < 4 or boxes.dtype.kind not in "fiu":
        raise DataError(f"norm_bb of shape {boxes.shape}, expected (regions, 6)")
    classes = None
    if "soft_labels" in arrays:
        probabilities = arrays["soft_labels"]
        if probabilities.ndim != 2 or probabilities.shape[1] < 2:
            raise DataError(f"soft_labels of shape {probabilities.shape}, expected (regions, classes)")
        classes = probabilities[:, 1:].argmax(axis=1)
    # In float16 a box's sides are not the difference of its corners.
    sides = {"box_sides": to_base64(boxes[:, 4:6], "<f2").decode()} if boxes.shape[1] >= 6 else {}
    return Content(
        arrays["features"],
        boxes[:, :4],
        height=None,
        width=None,
        classes=classes,
        scores=arrays.get("conf"),
        extra=sides,
        left_out=tuple(name for name in values if name not in KNOWN or name == "soft_labels"),
    )


def arrays_of(regions: RegionFeatures, extra: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """What UNITER stores of a picture."""
    assert regions.scores is not None
    boxes = shares(regions.boxes, regions.height, regions.width)
    if "box_sides" in extra:
        boxes[:, 4:] = from_base64(extra["box_sides"], "<f2", len(boxes), name="box_sides")
    values = {
        "features": regions.features,
        "norm_bb": boxes,
        "conf": regions.scores,
    }
    with np.errstate(over="ignore"):
        halves = {name: np.ascontiguousarray(value, "<f2") for name, value in values.items()}
    if not np.isfinite(halves["features"]).all():
        raise DataError(f"features up to {float(np.abs(regions.features).max()):g} do not fit float16")
    return halves


def pack(values: Mapping[str, np.ndarray]) -> bytes:
    """msgpack with arrays in the layout of msgpack-numpy."""
    packed = {
        name: {b"nd": True, b"type": array.dtype.str, b"kind": b"", b"shape": array.shape, b"data": array.tobytes()}
        for name, array in values.items()
    }
    return msgpack.packb(packed, use_bin_type=True)


def unpack(data: bytes) -> dict[str, Any]:
    """Arrays by name. Raises DataError where a value is a pickle, or not msgpack."""
    try:
        values = msgpack.unpackb(data, raw=True, strict_map_key=False)
    except (ValueError, msgpack.UnpackException) as error:
        raise DataError(f"neither .npz nor whole msgpack: {error}") from error
    if not isinstance(values, dict):
        raise DataError(f"a {type(values).__name__}, expected a mapping of names to arrays")
    return {name.decode(): array_of(value, name.decode()) for name, value in values.items()}


def array_of(value: Any, name: str) -> Any:
    if not isinstance(value, dict) or not value.get(b"nd"):
        return value
    if value.get(b"kind") == b"O":
        raise DataError(f"{name} holds a pickle in its msgpack, which is not plain data: refused")
    kind = value[b"type"].decode()
    if not NUMBERS.fullmatch(kind):
        raise DataError(f"{name} is an array of {kind!r:.40}, expected numbers")
    dtype = np.dtype(kind)
    return np.frombuffer(value[b"data"], dtype).reshape(value[b"shape"])


class Uniter(Format):
    needs_pixels = False
    needs = ("scores",)

    def key_of(self, image_id: str, stem: str) -> str:
        """coco_val2014_000000391895.npz: the file's name after the data set's, all small letters."""
        group, _, rest = image_id.rpartition(":")
        if group == "coco" and stem.lower().startswith("coco_"):
            return f"{stem.lower()}.npz"
        name = rest.zfill(12) if rest.isdecimal() else stem or rest
        return f"{group}_{name}.npz" if group and not name.startswith(f"{group}_") else f"{name}.npz"


class UniterNpz(Uniter):
    name = "uniter-npz"

    def read(self, source: Path) -> Iterator[Entry]:
        files = sorted(source.rglob("*.npz")) if source.is_dir() else [source]
        if not files:
            raise DataError(f"{source}: no .npz files in it")
        folder = source if source.is_dir() else source.parent
        for number, path in enumerate(files):
            name = path.relative_to(folder).as_posix()
            yield Entry(name, name, number, len(files), partial(self.parse, path))

    def parse(self, path: Path) -> Content:
        return content_of(read_npz(path.read_bytes()))

    def write(self, dest: Path, about: About) -> Writer:
        return NpzFolderWriter(dest, about)


class NpzFolderWriter(Writer):
    """A folder with a file a picture."""

    def __init__(self, dest: Path, about: About) -> None:
        super().__init__(dest, about)
        self.unfinished.mkdir()

    def add(self, key: str, regions: RegionFeatures, extra: Mapping[str, Any]) -> None:
        write_file(self.unfinished, key, arrays_of(regions, extra))

    def close(self) -> None:
        pass


def write_file(folder: Path, key: str, values: Mapping[str, Any]) -> None:
    """Writes values as folder/key. Raises DataError for a name that leads out of the folder."""
    path = folder / key
    if not path.resolve().is_relative_to(folder.resolve()) or path == folder:
        raise DataError(f"{key!r} is not the name of a file in a folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(write_npz(values))


class UniterLmdb(Uniter):
    name = "uniter-lmdb"

    def read(self, source: Path) -> Iterator[Entry]:
        with ForeignLmdb(source, b"__keys__", names_in) as database:
            for number, name in enumerate(database.names):
                key = name.decode(errors="replace")
                yield Entry(key, f"key {key}", number, len(database.names), partial(self.parse, database, name))

    def parse(self, database: ForeignLmdb, name: bytes) -> Content:
        value = database.value(name)
        return content_of(read_npz(value) if value[:2] == b"PK" else unpack(value))

    def write(self, dest: Path, about: About) -> Writer:
        return UniterLmdbWriter(dest, about)


def names_in(data: bytes) -> list[bytes]:
    try:
        names = json.loads(data)
    except (RecursionError, ValueError) as error:
        raise DataError(f"its entry '__keys__' is not JSON: {error}") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError("its entry '__keys__' is not a list of names")
    return [name.encode() for name in names]


class UniterLmdbWriter(LmdbWriter):
    list_key = b"__keys__"

    def __init__(self, dest: Path, about: About) -> None:
        super().__init__(dest, about)
        self.counts: dict[str, int] = {}

    def add(self, key: str, regions: RegionFeatures, extra: Mapping[str, Any]) -> None:
        values = arrays_of(regions, extra)
        self.put(key, write_npz(values) if self.dest.name.endswith("_compressed") else pack(values))
        self.counts[key] = regions.num_regions

    def make_list(self, names: list[bytes]) -> bytes:
        return json.dumps([name.decode() for name in names]).encode()

    def finish(self) -> None:
        rule = re.fullmatch(r"feat_(th.+?)(_compressed)?", self.dest.name)
        if rule:
            (self.dest.parent / f"nbb_{rule[1]}.json").write_text(json.dumps(self.counts), encoding="utf-8")
        super().finish()
