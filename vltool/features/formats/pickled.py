"""Features as pickled dictionaries: the LMDB databases of ViLBERT's family and of MMF, and MMF's folders.

vilbert-lmdb (facebookresearch/vilbert-multi-task, script/convert_to_lmdb.py, commit f22b84a), under "391895":
    {"image_id": "391895", "image_h": 480, "image_w": 640, "num_boxes": 36, "boxes": float32 (36, 4),
     "features": float32 (36, 2048)}
vilbert_beta's values hold base64 texts instead of arrays; volta's say img_id, img_h, img_w. All three are read.
mmf-lmdb (facebookresearch/mmf, tools/scripts/features/lmdb_conversion.py, commit b0ffc7fb), under the file's path
without .npy:
    {"feature_path": "COCO_val2014_000000391895", "features": …, "image_height": 480, "image_width": 640,
     "num_boxes": 36, "objects": int64 (36,), "cls_prob": …, "bbox": float32 (36, 4)}
and before it was an LMDB, <stem>.npy (the features) with <stem>_info.npy (the rest).
The entry "keys" is a pickled list of the names, as bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vltool import plain_pickle
from vltool.errors import DataError
from vltool.features.formats.arrays import from_base64, read_npy
from vltool.features.formats.foreign_lmdb import ForeignLmdb, LmdbWriter
from vltool.features.formats.format import About, Content, Entry, Format, Writer, stem_or_id
from vltool.structures import RegionFeatures

NAMES = {  # ours: theirs
    "height": ("image_h", "img_h", "image_height"),
    "width": ("image_w", "img_w", "image_width"),
    "boxes": ("boxes", "bbox"),
    "features": ("features",),
    "classes": ("objects_id", "objects"),
    "scores": ("objects_conf",),
    "attributes": ("attrs_id",),
    "attribute_scores": ("attrs_conf",),
}
DTYPES = {"boxes": "<f4", "features": "<f4", "scores": "<f4", "attribute_scores": "<f4"}  # of base64; else int64
NOT_LEFT_OUT = {"image_id", "img_id", "num_boxes", "feature_path"}.union(*NAMES.values())


def content_of(value: Any) -> Content:
    """The regions of a dictionary of any of these tools."""
    if not isinstance(value, dict):
        raise DataError(f"a {type(value).__name__}, expected a dictionary of arrays")
    value = {name: item for name, item in value.items() if item is not None}
    found: dict[str, Any] = {}
    for name, theirs in NAMES.items():
        present = [other for other in theirs if other in value]
        if present:
            found[name] = value[present[0]]
        elif name in ("height", "width", "boxes", "features"):
            raise DataError(f"has no {' or '.join(theirs)}; it has {', '.join(map(str, value)) or 'nothing'}")
    height, width = int(found.pop("height")), int(found.pop("width"))
    count = int(value.get("num_boxes", -1))
    arrays = {name: array_of(item, DTYPES.get(name, "<i8"), count, name=name) for name, item in found.items()}
    probabilities = value.get("cls_prob")
    if probabilities is not None and "scores" not in arrays:
        add_best_class(arrays, array_of(probabilities, "<f4", count, name="cls_prob"))
    for name in ("classes", "scores", "attributes", "attribute_scores"):
        if name in arrays:
            arrays[name] = arrays[name].reshape(-1)
    extra = {} if count in (-1, len(arrays["features"])) else {"num_boxes": count}
    left_out = tuple(str(name) for name in value if name not in NOT_LEFT_OUT)
    return Content(height=height, width=width, **arrays, extra=extra, left_out=left_out)


def array_of(item: Any, dtype: str, count: int, *, name: str) -> np.ndarray:
    if isinstance(item, (str, bytes)):
        if count < 1:
            raise DataError(f"{name} is base64 text, and no num_boxes says of how many regions")
        return from_base64(item, dtype, count, name=name)
    array = np.asarray(item)
    if array.dtype.kind not in "fiu":
        raise DataError(f"{name} holds {array.dtype}, expected numbers")
    return array


def add_best_class(arrays: dict[str, np.ndarray], probabilities: np.ndarray) -> None:
    """Scores, and where there are none classes, from class probabilities whose first column is the background."""
    if probabilities.ndim != 2 or probabilities.shape[1] < 2:
        raise DataError(f"cls_prob of shape {probabilities.shape}, expected (regions, classes)")
    arrays["scores"] = probabilities[:, 1:].max(axis=1)
    arrays.setdefault("classes", probabilities[:, 1:].argmax(axis=1))


def names_in(data: bytes) -> list[bytes]:
    """The names of an entry "keys"."""
    names = plain_pickle.loads(data)
    if not isinstance(names, list) or not all(isinstance(name, (str, bytes)) for name in names):
        raise DataError("its entry 'keys' is not a list of names")
    return [name.encode("latin1") if isinstance(name, str) else name for name in names]


class PickledLmdb(Format):
    """An LMDB database of pickled dictionaries."""

    def read(self, source: Path) -> Iterator[Entry]:
        with ForeignLmdb(source, b"keys", names_in) as database:
            total = len(database.names)
            for number, name in enumerate(database.names):
                key = name.decode(errors="replace")
                yield Entry(key, f"key {key}", number, total, partial(self.parse, database, name))
            for number, name in enumerate(database.unlisted(), total):
                key = name.decode(errors="replace")
                yield Entry(
                    key, f"key {key} (not in its list)", number, number + 1, partial(self.parse, database, name)
                )

    def parse(self, database: ForeignLmdb, name: bytes) -> Content:
        return content_of(plain_pickle.loads(database.value(name)))


class VilbertLmdb(PickledLmdb):
    name = "vilbert-lmdb"

    def write(self, dest: Path, about: About) -> Writer:
        return VilbertWriter(dest, about)


class PickledWriter(LmdbWriter):
    def make_list(self, names: list[bytes]) -> bytes:
        return plain_pickle.dumps(names)


class VilbertWriter(PickledWriter):
    def add(self, key: str, regions: RegionFeatures, extra: Mapping[str, Any]) -> None:
        value = {
            "image_id": key,
            "image_h": regions.height,
            "image_w": regions.width,
            "num_boxes": extra.get("num_boxes", regions.num_regions),
            "boxes": regions.boxes.astype("<f4"),
            "features": regions.features.astype("<f4"),
        }
        self.put(key, plain_pickle.dumps(value))


class MmfLmdb(PickledLmdb):
    name = "mmf-lmdb"
    needs = ("classes",)

    def key_of(self, image_id: str, stem: str) -> str:
        return stem_or_id(image_id, stem)

    def read(self, source: Path) -> Iterator[Entry]:
        if source.is_dir() and not (source / "data.mdb").is_file():
            return self.read_folder(source)
        return super().read(source)

    def read_folder(self, folder: Path) -> Iterator[Entry]:
        """Pictures of the folder form: <stem>.npy, and <stem>_info.npy beside it."""
        files = sorted(path for path in folder.rglob("*.npy") if not path.stem.endswith("_info"))
        if not files:
            raise DataError(f"{folder}: neither data.mdb nor .npy files in it")
        for number, path in enumerate(files):
            name = path.relative_to(folder)
            yield Entry(str(name.with_suffix("")), str(name), number, len(files), partial(self.parse_file, path))

    def parse_file(self, path: Path) -> Content:
        value = read_npy(path.read_bytes())
        if isinstance(value, dict):
            return content_of(value)
        beside = path.with_name(f"{path.stem}_info.npy")
        if not beside.is_file():
            raise DataError(f"no {beside.name} beside it")
        about = read_npy(beside.read_bytes())
        if not isinstance(about, dict):
            raise DataError(f"{beside.name} holds no dictionary")
        return content_of({**about, "features": value})

    def write(self, dest: Path, about: About) -> Writer:
        return MmfWriter(dest, about)


class MmfWriter(PickledWriter):
    """cls_prob is None: of the class probabilities, a store keeps the best one only."""

    def add(self, key: str, regions: RegionFeatures, extra: Mapping[str, Any]) -> None:
        assert regions.classes is not None
        value = {
            "feature_path": key,
            "features": regions.features.astype("<f4"),
            "image_height": regions.height,
            "image_width": regions.width,
            "num_boxes": extra.get("num_boxes", regions.num_regions),
            "objects": regions.classes.astype("<i8"),
            "cls_prob": None,
            "bbox": regions.boxes.astype("<f4"),
        }
        self.put(key, plain_pickle.dumps(value))
