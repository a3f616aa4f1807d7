"""The two HDF5 layouts: regions of all pictures one after another (dcn-h5), or the same number each (hengyuan-h5).

dcn-h5 (the authors of dense co-attention, dense_coattn/data/dataset.py, commit 0bc2c2b): rcnn_train.h5 with
    boxes float32 (regions, 4), features float32 (regions, 2048),
    img_start_idx, img_end_idx int64 (pictures,): the first and the last region, the last one included,
    image_h, image_w int64 (pictures,)
and rcnn_train.pt, a torch file of {picture's number: row}.
hengyuan-h5 (hengyuan-hu/bottom-up-attention-vqa, tools/detection_features_converter.py): train36.hdf5 with
    image_features (pictures, 36, 2048), image_bb (pictures, 36, 4),
    spatial_features (pictures, 36, 6): x1 y1 x2 y2 width height as shares of the picture, all float32
and train36_imgid2idx.pkl, a pickle of {picture's number: row}. The picture's size is found by dividing.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from vltool import plain_pickle
from vltool.errors import DataError
from vltool.features.formats.arrays import shares
from vltool.features.formats.format import About, Content, Entry, Format, Writer, put_in_place
from vltool.structures import RegionFeatures

CHUNK_BYTES = 2**20
UNWRITTEN_BYTES = 16 * 2**20  # what HDF5 may still hold of all datasets; it cannot bear a full disk


class Hdf5Format(Format):
    """An HDF5 file, and beside it the pictures' rows."""

    datasets: tuple[str, ...]

    def read(self, source: Path) -> Iterator[Entry]:
        try:
            file = h5py.File(source, "r")
        except OSError as error:
            raise DataError(f"{source}: not a whole HDF5 file: {error}") from error
        with file:
            missing = [name for name in self.datasets if not isinstance(file.get(name), h5py.Dataset)]
            if missing:
                raise DataError(f"{source}: no dataset {missing[0]}; expected {', '.join(self.datasets)}")
            rows = sorted(read_map(source).items(), key=lambda item: item[1])
            for number, (key, row) in enumerate(rows):
                yield Entry(str(key), f"row {row}", number, len(rows), partial(self.parse, file, row))

    def parse(self, file: h5py.File, row: int) -> Content:
        raise NotImplementedError


def map_paths(source: Path) -> list[Path]:
    """Where the pictures' rows may lie: rcnn_train.pt, train36_imgid2idx.pkl."""
    return [source.with_name(f"{source.stem}{ending}") for ending in (".pt", ".pth", "_imgid2idx.pkl", ".pkl")]


def read_map(source: Path) -> dict[int | str, int]:
    """Rows by picture. Raises DataError where the file is missing, or holds anything else."""
    path = next((path for path in map_paths(source) if path.is_file()), None)
    if path is None:
        names = ", ".join(path.name for path in map_paths(source))
        raise DataError(f"{source}: no file of the pictures' rows beside it ({names})")
    if path.suffix == ".pkl":
        try:
            rows = plain_pickle.loads(path.read_bytes())
        except DataError as error:
            raise DataError(f"{path}: {error}") from error
    else:
        rows = load_torch(path)
    plain = isinstance(rows, dict) and all(
        isinstance(key, (int, str, np.integer)) and isinstance(row, (int, np.integer)) and row >= 0
        for key, row in rows.items()
    )
    if not plain:
        raise DataError(f"{path}: expected a mapping of pictures to rows")
    return {key if isinstance(key, str) else int(key): int(row) for key, row in rows.items()}


def load_torch(path: Path) -> Any:
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # its unpickler refuses with a long text, and fails in any way there is
        asked = re.search(r"(?i)global:? (?P<name>[\w.]+)", str(error))
        if asked:
            reason = f"it asks for {asked['name']}, which is not plain data: refused"
        else:
            reason = f"damaged: {error!r:.100}"
        raise DataError(f"{path}: {reason}") from error


class DcnH5(Hdf5Format):
    name = "dcn-h5"
    datasets = ("boxes", "features", "img_start_idx", "img_end_idx", "image_h", "image_w")

    def parse(self, file: h5py.File, row: int) -> Content:
        if row >= len(file["img_start_idx"]):
            raise DataError(f"row {row} of {len(file['img_start_idx'])}")
        first, last = int(file["img_start_idx"][row]), int(file["img_end_idx"][row])
        if not 0 <= first <= last < len(file["features"]):
            raise DataError(f"regions {first} to {last} of {len(file['features'])}")
        part = slice(first, last + 1)
        height, width = int(file["image_h"][row]), int(file["image_w"][row])
        return Content(file["features"][part], file["boxes"][part], height, width)

    def write(self, dest: Path, about: About) -> Writer:
        return DcnWriter(dest, about)


class HengyuanH5(Hdf5Format):
    name = "hengyuan-h5"
    datasets = ("image_features", "image_bb", "spatial_features")

    def parse(self, file: h5py.File, row: int) -> Content:
        if row >= len(file["image_features"]):
            raise DataError(f"row {row} of {len(file['image_features'])}")
        boxes, spatial = file["image_bb"][row], file["spatial_features"][row]
        height, width = size_of(boxes, spatial)
        return Content(file["image_features"][row], boxes, height, width)

    def write(self, dest: Path, about: About) -> Writer:
        return HengyuanWriter(dest, about)


def size_of(boxes: np.ndarray, spatial: np.ndarray) -> tuple[int, int]:
    """Height and width of a picture, from its boxes in pixels and as shares."""
    sizes = []
    for corner in (3, 2):
        row = int(spatial[:, corner].argmax())
        if not spatial[row, corner] > 0:
            raise DataError("its spatial_features are 0: the picture's size cannot be found")
        sizes.append(round(float(boxes[row, corner]) / float(spatial[row, corner])))
    return sizes[0], sizes[1]


class Hdf5Writer(Writer):
    """Appends rows to datasets; the rows by picture are written last, but get their name first."""

    map_ending: str

    def __init__(self, dest: Path, about: About) -> None:
        self.map_path = dest.with_name(f"{dest.stem}{self.map_ending}")
        if self.map_path.exists() and not dest.exists():
            raise DataError(f"{self.map_path}: exists already; delete it, or choose another --out")
        super().__init__(dest, about)
        self.rows: dict[int | str, int] = {}
        self.file = h5py.File(self.unfinished, "w")

    def make(self, name: str, dtype: str, *shape: int) -> None:
        """A dataset of rows of this shape, empty yet."""
        row_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        chunk = (max(1, min(1024, CHUNK_BYTES // row_bytes)), *shape)
        self.file.create_dataset(name, (0, *shape), dtype, maxshape=(None, *shape), chunks=chunk)

    def append(self, name: str, rows: np.ndarray) -> None:
        if shutil.disk_usage(self.dest.parent).free < UNWRITTEN_BYTES + rows.nbytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        dataset = self.file[name]
        start = len(dataset)
        dataset.resize(start + len(rows), axis=0)
        dataset[start:] = rows

    def name_of(self, key: str) -> int | str:
        """The picture's name in the file of rows. Raises DataError for a number that another name has too."""
        name = int(key) if key.isdecimal() else key
        if name in self.rows:
            raise DataError(f"a second picture of the number {name} there; give --key another pattern")
        return name

    def close(self) -> None:
        self.file.close()

    release = close

    def save_rows(self, path: Path) -> None:
        raise NotImplementedError

    def finish(self) -> None:
        unfinished = self.map_path.with_name(f"{self.map_path.name}.unfinished")
        self.save_rows(unfinished)
        put_in_place(unfinished, self.map_path)
        super().finish()


class DcnWriter(Hdf5Writer):
    map_ending = ".pt"

    def __init__(self, dest: Path, about: About) -> None:
        super().__init__(dest, about)
        self.make("boxes", "<f4", 4)
        self.make("features", "<f4", about.feature_dim)
        for name in ("img_start_idx", "img_end_idx", "image_h", "image_w"):
            self.make(name, "<i8")

    def add(self, key: str, regions: RegionFeatures, extra: Mapping[str, Any]) -> None:
        name_there, first = self.name_of(key), len(self.file["features"])
        self.append("boxes", regions.boxes)
        self.append("features", regions.features)
        numbers = (first, first + regions.num_regions - 1, regions.height, regions.width)
        for name, number in zip(("img_start_idx", "img_end_idx", "image_h", "image_w"), numbers, strict=True):
            self.append(name, np.array([number]))
        self.rows[name_there] = len(self.rows)

    def save_rows(self, path: Path) -> None:
        import torch

        torch.save(self.rows, path, _use_new_zipfile_serialization=False)  # the authors' torch was 0.4


class HengyuanWriter(Hdf5Writer):
    map_ending = "_imgid2idx.pkl"

    def __init__(self, dest: Path, about: About) -> None:
        super().__init__(dest, about)
        self.make("image_features", "<f4", about.usual_count, about.feature_dim)
        self.make("image_bb", "<f4", about.usual_count, 4)
        self.make("spatial_features", "<f4", about.usual_count, 6)

    def add(self, key: str, regions: RegionFeatures, extra: Mapping[str, Any]) -> None:
        if regions.num_regions != self.about.usual_count:
            raise DataError(f"{regions.num_regions} regions, but all pictures need {self.about.usual_count} here")
        name_there = self.name_of(key)
        self.append("image_features", regions.features[None].astype(np.float32))
        self.append("image_bb", regions.boxes[None])
        self.append("spatial_features", shares(regions.boxes, regions.height, regions.width)[None])
        self.rows[name_there] = len(self.rows)

    def save_rows(self, path: Path) -> None:
        path.write_bytes(plain_pickle.dumps(self.rows))
