"""The two tab-separated formats of bottom-up features: a picture a line, arrays in base64, no header line.

bottom-up-tsv (peteanderson80/bottom-up-attention, tools/generate_tsv.py, commit 514e561):
    image_id  image_w  image_h  num_boxes  boxes  features
lxmert-tsv (airsplay/lxmert, src/utils.py, commit 0db1182; airsplay/py-bottom-up-attention), height before width:
    img_id  img_h  img_w  objects_id  objects_conf  attrs_id  attrs_conf  num_boxes  boxes  features

Features, boxes and confidences are float32, ids int64 and without the background class.
    COCO_train2014_000000132417  333  500  SAAAAAAAAAAjAQAA…  …  36  …  …
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from vltool.errors import DataError
from vltool.features.formats.arrays import from_base64, to_base64
from vltool.features.formats.format import About, Content, Entry, Format, Writer, stem_or_id
from vltool.structures import RegionFeatures

PER_REGION = {  # column: array of RegionFeatures, number format
    "objects_id": ("classes", "<i8"),
    "objects_conf": ("scores", "<f4"),
    "attrs_id": ("attributes", "<i8"),
    "attrs_conf": ("attribute_scores", "<f4"),
}


class TsvFormat(Format):
    """A tab-separated file with a picture a line."""

    columns: tuple[str, ...]
    height_column: str
    width_column: str

    def read(self, source: Path) -> Iterator[Entry]:
        size, start = source.stat().st_size, 0
        with source.open("rb") as file:
            for number, line in enumerate(file):
                start += len(line)
                if not line.strip():  # csv's readers pass over blank lines
                    continue
                total = max(number + 1, round(size * (number + 1) / start))
                key = line.partition(b"\t")[0][:1000].strip().decode(errors="replace")
                yield Entry(key, f"line {number + 1}", number, total, partial(self.parse, line))

    def parse(self, line: bytes) -> Content:
        """The regions of a line."""
        text = line.rstrip(b"\r\n")
        cells = text.split(b"\t")
        if len(cells) != len(self.columns):
            raise DataError(f"{len(cells)} columns, expected {len(self.columns)}: {' '.join(self.columns)}")
        row = dict(zip(self.columns, cells, strict=True))
        height, width = self.whole(row, self.height_column), self.whole(row, self.width_column)
        count = self.whole(row, "num_boxes")
        if count < 1:
            raise DataError("num_boxes is 0: no regions")
        boxes = from_base64(row["boxes"], "<f4", count, name="boxes")
        features = from_base64(row["features"], "<f4", count, name="features")
        values: dict[str, Any] = {}
        for column, (name, dtype) in PER_REGION.items():
            if column in row:
                values[name] = from_base64(row[column], dtype, count, name=column)[:, 0]
                if len(row[column]) != len(to_base64(values[name], dtype)):
                    raise DataError(f"{column}: more than one number a region")
        ending = line[len(text) :].decode()
        extra = {} if ending == "\n" else {"line_end": ending}
        return Content(features, boxes, height, width, **values, extra=extra)

    def whole(self, row: Mapping[str, bytes], column: str) -> int:
        try:
            return int(row[column])
        except ValueError:
            found = row[column][:40].decode(errors="replace")
            raise DataError(f"{column} is {found!r}, expected a whole number") from None

    def write(self, dest: Path, about: About) -> Writer:
        return TsvWriter(dest, about, self)


class BottomUpTsv(TsvFormat):
    name = "bottom-up-tsv"
    columns = ("image_id", "image_w", "image_h", "num_boxes", "boxes", "features")
    height_column, width_column = "image_h", "image_w"


class LxmertTsv(TsvFormat):
    name = "lxmert-tsv"
    columns = ("img_id", "img_h", "img_w", *PER_REGION, "num_boxes", "boxes", "features")
    height_column, width_column = "img_h", "img_w"
    needs = tuple(name for name, _ in PER_REGION.values())

    def key_of(self, image_id: str, stem: str) -> str:
        return stem_or_id(image_id, stem)


class TsvWriter(Writer):
    """Appends lines."""

    def __init__(self, dest: Path, about: About, layout: TsvFormat) -> None:
        super().__init__(dest, about)
        self.layout = layout
        self.file = self.unfinished.open("wb")

    def add(self, key: str, regions: RegionFeatures, extra: Mapping[str, Any]) -> None:
        if "\t" in key or "\n" in key:
            raise DataError(f"a name with a tab or a line break cannot stand in a TSV: {key!r}")
        cells = {
            self.layout.columns[0]: key.encode(),
            self.layout.height_column: str(regions.height).encode(),
            self.layout.width_column: str(regions.width).encode(),
            "num_boxes": str(regions.num_regions).encode(),
            "boxes": to_base64(regions.boxes, "<f4"),
            "features": to_base64(regions.features, "<f4"),
        }
        for column, (name, dtype) in PER_REGION.items():
            if column in self.layout.columns:
                cells[column] = to_base64(getattr(regions, name), dtype)
        line = b"\t".join(cells[column] for column in self.layout.columns)
        self.file.write(line + extra.get("line_end", "\n").encode())

    def close(self) -> None:
        self.file.close()

    release = close
