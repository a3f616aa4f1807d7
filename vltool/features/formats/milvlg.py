"""milvlg-npz: a compressed .npz a picture (MILVLG/bottom-up-attention.pytorch, utils/extract_utils.py, commit 4dbce86).

COCO_val2014_000000391895.npz, which openvqa reads too:
    x float32 (n, 2048), bbox float32 (n, 4), num_bbox, image_h, image_w,
    info {"image_id", "image_h", "image_w", "num_boxes", "objects_id", "objects_conf", "attrs_id", "attrs_conf"},
    a pickled dictionary; ids without the background class
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vltool.errors import DataError
from vltool.features.formats.arrays import read_npz
from vltool.features.formats.format import About, Content, Entry, Format, Writer, stem_or_id
from vltool.features.formats.uniter import write_file
from vltool.structures import RegionFeatures

PER_REGION = {  # name in info: ours, number format
    "objects_id": ("classes", "<i8"),
    "objects_conf": ("scores", "<f4"),
    "attrs_id": ("attributes", "<i8"),
    "attrs_conf": ("attribute_scores", "<f4"),
}
KNOWN = {"x", "bbox", "num_bbox", "image_h", "image_w", "info"}


class MilvlgNpz(Format):
    name = "milvlg-npz"
    needs = tuple(name for name, _ in PER_REGION.values())

    def key_of(self, image_id: str, stem: str) -> str:
        return stem_or_id(image_id, stem).split(".")[0]  # its extractor cuts a file's name at the first dot

    def read(self, source: Path) -> Iterator[Entry]:
        files = sorted(source.rglob("*.npz")) if source.is_dir() else [source]
        if not files:
            raise DataError(f"{source}: no .npz files in it")
        folder = source if source.is_dir() else source.parent
        for number, path in enumerate(files):
            name = path.relative_to(folder)
            yield Entry(name.with_suffix("").as_posix(), str(name), number, len(files), partial(self.parse, path))

    def parse(self, path: Path) -> Content:
        values = read_npz(path.read_bytes())
        if "x" not in values and "bbox" in values:
            raise DataError("a file of boxes only, without features")
        missing = [name for name in ("x", "bbox", "image_h", "image_w") if name not in values]
        if missing:
            raise DataError(f"has no {missing[0]}; it has {', '.join(values) or 'nothing'}")
        info = values.get("info", {})
        if not isinstance(info, dict):
            raise DataError(f"info is a {type(info).__name__}, expected a dictionary")
        arrays: dict[str, Any] = {
            ours: np.asarray(info[name]) for name, (ours, _) in PER_REGION.items() if info.get(name) is not None
        }
        left_out = tuple(name for name in values if name not in KNOWN)
        height, width = int(values["image_h"]), int(values["image_w"])
        return Content(values["x"], values["bbox"], height, width, **arrays, left_out=left_out)

    def write(self, dest: Path, about: About) -> Writer:
        return MilvlgWriter(dest, about)


class MilvlgWriter(Writer):
    """A folder with a file a picture."""

    def __init__(self, dest: Path, about: About) -> None:
        super().__init__(dest, about)
        self.unfinished.mkdir()

    def add(self, key: str, regions: RegionFeatures, extra: Mapping[str, Any]) -> None:
        size = {"image_h": regions.height, "image_w": regions.width}
        info = {"image_id": key, **size, "num_boxes": regions.num_regions}
        info |= {name: np.asarray(getattr(regions, ours), dtype) for name, (ours, dtype) in PER_REGION.items()}
        values = {
            "x": regions.features.astype("<f4"),
            "bbox": regions.boxes.astype("<f4"),
            "num_bbox": np.int64(regions.num_regions),
            **{name: np.int64(value) for name, value in size.items()},
            "info": info,
        }
        write_file(self.unfinished, f"{key}.npz", values)

    def close(self) -> None:
        pass
