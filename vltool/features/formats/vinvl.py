"""vinvl-tsv: a folder of the Oscar and VinVL features (microsoft/Oscar, oscar/utils/tsv_file.py, commit 266075f).

features.tsv       391895 <tab> 36 <tab> base64 of float32 (36, 2054): 2048 features, then x1 y1 x2 y2 width height of
                   the box as shares of the picture
features.lineidx   the byte at which each line begins, one a line
imageid2idx.json   {"391895": 0}, the line of a picture
predictions.tsv    391895 <tab> {"objects": [{"class", "rect", "conf"}, …], "image_h": 480, "image_w": 640}

Without predictions.tsv the picture's size is unknown; boxes then stay shares, of a picture of 1 x 1.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vltool.errors import DataError
from vltool.features.formats.arrays import from_base64, shares, to_base64
from vltool.features.formats.format import About, Content, Entry, Format, Writer
from vltool.structures import RegionFeatures

NUM_BOX_COLUMNS = 6
TABLES = ("features", "predictions")


class VinvlTsv(Format):
    name = "vinvl-tsv"
    needs_pixels = False

    def read(self, source: Path) -> Iterator[Entry]:
        path = source / "features.tsv" if source.is_dir() else source
        if not path.is_file():
            raise DataError(f"{source}: no features.tsv in it")
        predictions = Predictions(path.with_name("predictions.tsv"))
        size, start = path.stat().st_size, 0
        with path.open("rb") as file:
            for number, line in enumerate(file):
                start += len(line)
                total = max(number + 1, round(size * (number + 1) / start))
                if not line.strip():
                    continue
                key = line.partition(b"\t")[0][:1000].decode(errors="replace")
                yield Entry(key, f"line {number + 1}", number, total, partial(self.parse, key, line, predictions))

    def parse(self, key: str, line: bytes, predictions: Predictions) -> Content:
        cells = line.rstrip(b"\r\n").split(b"\t")
        if len(cells) != 3:
            raise DataError(f"{len(cells)} columns, expected 3: img_id num_boxes features")
        count = int(cells[1])
        if count < 1:
            raise DataError("num_boxes is 0: no regions")
        rows = from_base64(cells[2], "<f4", count, name="features")
        if rows.shape[1] <= NUM_BOX_COLUMNS:
            raise DataError(f"rows of {rows.shape[1]} numbers, expected features and then 6 of the box")
        features = np.ascontiguousarray(rows[:, :-NUM_BOX_COLUMNS])
        boxes = rows[:, -NUM_BOX_COLUMNS:-2]
        found = predictions.of(key)
        if found is None:
            return Content(features, boxes, None, None)
        if len(found["objects"]) != count:
            raise DataError(f"{count} regions in features.tsv, but {len(found['objects'])} in predictions.tsv")
        height, width = found.get("image_h"), found.get("image_w")
        if height is None or width is None:
            height = width = None
        else:
            boxes = np.array([item["rect"] for item in found["objects"]], np.float32)
        return Content(
            features,
            boxes,
            height,
            width,
            classes=np.array([predictions.number[item["class"]] for item in found["objects"]]),
            scores=np.array([item["conf"] for item in found["objects"]], np.float32),
        )

    def class_names(self, source: Path) -> tuple[str, ...]:
        folder = source if source.is_dir() else source.parent
        return tuple(Predictions(folder / "predictions.tsv").number)

    def write(self, dest: Path, about: About) -> Writer:
        return VinvlWriter(dest, about)


class Predictions:
    """The rows of predictions.tsv by picture; of the file, only where they begin is kept."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.starts: dict[str, int] = {}
        names: set[str] = set()
        if path.is_file():
            start = 0
            with path.open("rb") as file:
                for line in file:
                    key, _, text = line.partition(b"\t")
                    self.starts[key.decode(errors="replace")] = start
                    start += len(line)
                    names.update(name for name in class_names_in(text) if isinstance(name, str))
        self.number = {name: number for number, name in enumerate(sorted(names))}

    def of(self, key: str) -> dict[str, Any] | None:
        """A picture's predictions, or None where there are none."""
        if key not in self.starts:
            return None
        with self.path.open("rb") as file:
            file.seek(self.starts[key])
            value = json.loads(file.readline().partition(b"\t")[2])
        return {"objects": value} if isinstance(value, list) else value


def class_names_in(text: bytes) -> list[Any]:
    """The classes of a row; none of a damaged one, which is reported when its picture is read."""
    try:
        value = json.loads(text)
        return [item["class"] for item in (value if isinstance(value, list) else value["objects"])]
    except (LookupError, RecursionError, TypeError, ValueError):
        return []


class VinvlWriter(Writer):
    """A folder of the tables and their indices."""

    def __init__(self, dest: Path, about: About) -> None:
        super().__init__(dest, about)
        self.unfinished.mkdir()
        names = [f"{table}.{kind}" for table in TABLES for kind in ("tsv", "lineidx")]
        self.files = {name: (self.unfinished / name).open("wb") for name in names}
        self.lines: dict[str, int] = {}

    def add(self, key: str, regions: RegionFeatures, extra: Mapping[str, Any]) -> None:
        if "\t" in key or "\n" in key:
            raise DataError(f"a name with a tab or a line break cannot stand in a TSV: {key!r}")
        boxes = shares(regions.boxes, regions.height, regions.width)
        rows = np.concatenate([regions.features.astype(np.float32), boxes], axis=1)
        self.write_line("features", [key.encode(), str(regions.num_regions).encode(), to_base64(rows, "<f4")])
        if (regions.height, regions.width) != (1, 1):
            self.write_line("predictions", [key.encode(), json.dumps(self.prediction(regions)).encode()])
        self.lines[key] = len(self.lines)

    def prediction(self, regions: RegionFeatures) -> dict[str, Any]:
        objects = []
        for row in range(regions.num_regions):
            number = 0 if regions.classes is None else int(regions.classes[row])
            names = self.about.class_names
            objects.append(
                {
                    "class": names[number] if number < len(names) else str(number),
                    "rect": regions.boxes[row].tolist(),
                    "conf": 1.0 if regions.scores is None else float(regions.scores[row]),
                }
            )
        return {"objects": objects, "image_h": regions.height, "image_w": regions.width}

    def write_line(self, table: str, cells: list[bytes]) -> None:
        self.files[f"{table}.lineidx"].write(f"{self.files[f'{table}.tsv'].tell()}\n".encode())
        self.files[f"{table}.tsv"].write(b"\t".join(cells) + b"\n")

    def close(self) -> None:
        self.release()
        if not (self.unfinished / "predictions.tsv").stat().st_size:
            (self.unfinished / "predictions.tsv").unlink()
            (self.unfinished / "predictions.lineidx").unlink()
        (self.unfinished / "imageid2idx.json").write_text(json.dumps(self.lines), encoding="utf-8")

    def release(self) -> None:
        for file in self.files.values():
            file.close()
