"""One picture's regions as bytes that describe themselves.

0   4   magic, b"VLR1"
4   4   CRC-32 of everything after it, little-endian
8   4   length of the header
12      header, JSON, padded with spaces: the next byte is a multiple of 16
        {"image_id": "coco:391895", "height": 480, "width": 640,
         "arrays": {"features": ["<f2", [36, 2048], 0], "boxes": ["<f4", [36, 4], 147456]},
         "source": {"name": "000000391895.jpg", "bytes": 224736, "sha256": "...", "phash": "..."}}
        arrays, C order, little-endian, each at its offset (a multiple of 16) from here
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from vltool.errors import StoreError
from vltool.structures import ImageId, RegionFeatures

MAGIC = b"VLR1"
PREFIX = struct.Struct("<4sII")
ALIGNMENT = 16
BOXES = np.dtype("<f4")
FEATURES = ("<f2", "<f4")
ARRAYS = {
    "features": None,  # float16 or float32, as the store is
    "boxes": BOXES,
    "classes": np.dtype("<i8"),
    "scores": np.dtype("<f4"),
    "attributes": np.dtype("<i8"),
    "attribute_scores": np.dtype("<f4"),
}


def encode(regions: RegionFeatures, source: Mapping[str, Any] | None = None) -> bytes:
    """The record of a picture. source: what is known of its file, JSON values."""
    layout: dict[str, tuple[str, tuple[int, ...], int]] = {}
    parts: list[bytes] = []
    offset = 0
    for name, dtype in ARRAYS.items():
        value = getattr(regions, name)
        if value is None:
            continue
        array = np.ascontiguousarray(value, dtype=dtype or value.dtype.newbyteorder("<"))
        layout[name] = (array.dtype.str, array.shape, offset)
        padding = -array.nbytes % ALIGNMENT
        parts += [array.tobytes(), b"\0" * padding]
        offset += array.nbytes + padding
    header = {
        "image_id": regions.image_id,
        "height": int(regions.height),
        "width": int(regions.width),
        "arrays": layout,
        "source": dict(source or {}),
    }
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
    text += b" " * (-(PREFIX.size + len(text)) % ALIGNMENT)
    body = struct.pack("<I", len(text)) + text + b"".join(parts)
    return MAGIC + struct.pack("<I", zlib.crc32(body)) + body


def is_whole(data: bytes | bytearray | memoryview) -> bool:
    """Whether a record's checksum is right."""
    if len(data) < PREFIX.size:
        return False
    magic, checksum, _ = PREFIX.unpack_from(data)
    return bool(magic == MAGIC and zlib.crc32(memoryview(data)[8:]) == checksum)


def is_of(image_id: str, data: bytes | bytearray | memoryview) -> bool:
    """Whether `data` is a whole record, and that of this image."""
    try:
        return is_whole(data) and bool(read_header(data)[0]["image_id"] == image_id)
    except StoreError:
        return False


def read_header(data: bytes | bytearray | memoryview) -> tuple[dict[str, Any], int]:
    """A record's header, and where its arrays begin. Raises StoreError where it does not describe this record.

    A checksum tells of damage, not of intent: whoever makes a record makes its checksum too.
    """
    _, _, length = PREFIX.unpack_from(data)
    start = PREFIX.size + length
    try:
        header = json.loads(bytes(memoryview(data)[PREFIX.size : start]))
        image_id, height, width = header["image_id"], header["height"], header["width"]
        known = isinstance(image_id, str) and isinstance(header["source"], dict)
        arrays = header["arrays"].items()
        fits = all(_fits(name, *place, room=len(data) - start) for name, place in arrays)
        rows = {place[1][0] for _, place in arrays}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise StoreError(f"its header is not that of a record: {error!r:.100}") from error
    if not (known and fits and {"features", "boxes"} <= header["arrays"].keys() and len(rows) == 1):
        raise StoreError("its header does not fit its arrays")
    if not (type(height) is type(width) is int and height > 0 and width > 0):
        raise StoreError(f"its picture has a size of {width!r:.20} x {height!r:.20}")
    return header, start


def _fits(name: str, dtype: str, shape: Sequence[int], offset: int, *, room: int) -> bool:
    """Whether an array of a record is of a kind that records have, and lies within the `room` of them all."""
    kind = ARRAYS[name]
    if dtype not in (FEATURES if kind is None else (kind.str,)) or not all(
        type(size) is int and size >= 0 for size in (*shape, offset)
    ):
        return False
    if len(shape) != (2 if name in ("features", "boxes") else 1) or (name == "boxes" and shape[1] != 4):
        return False
    return offset + math.prod(shape) * int(dtype[-1]) <= room


class Layout(NamedTuple):
    """Where features and boxes lie in a record, and the size of its picture: all that a view needs to know."""

    dtype: np.dtype
    shape: tuple[int, ...]
    features_at: int
    boxes_shape: tuple[int, int]
    boxes_at: int
    height: int
    width: int


def layout_of(data: bytes | bytearray | memoryview) -> Layout:
    """The layout of a record, whose checksum is known to be right. Raises StoreError as `read_header` does."""
    header, start = read_header(data)
    arrays = header["arrays"]
    dtype, shape, features_at = arrays["features"]
    known = _known(dtype, tuple(shape))
    return Layout(
        *known, start + features_at, (shape[0], 4), start + arrays["boxes"][2], header["height"], header["width"]
    )


@lru_cache(maxsize=1024)
def _known(dtype: str, shape: tuple[int, ...]) -> tuple[np.dtype, tuple[int, ...]]:
    """One copy of a number format and a shape for all the records that have them."""
    return np.dtype(dtype), shape


def viewer(locate: Callable[[str], tuple[memoryview, Layout]]) -> Callable[[str], RegionFeatures]:
    """A function from an image id to features and boxes that lie in the record itself.

    locate: the record of an image, checked, and its layout; asked once an image.
    Made for training, which reads each picture in each epoch: no copy, nothing parsed, nothing searched twice.
    """
    new, array, kind = object.__new__, np.ndarray, RegionFeatures
    located: dict[str, tuple[memoryview, Layout]] = {}

    def view(image_id: str) -> RegionFeatures:
        found = located.get(image_id)
        if found is None:
            found = located[image_id] = locate(image_id)
        data, (dtype, shape, features_at, boxes_shape, boxes_at, height, width) = found
        regions = new(kind)  # its own way of setting frozen fields takes longer than all of this
        values = regions.__dict__
        values["image_id"] = image_id
        values["features"] = array(shape, dtype, data, features_at)
        values["boxes"] = array(boxes_shape, BOXES, data, boxes_at)
        values["height"] = height
        values["width"] = width
        return regions

    return view


def decode(data: bytes | bytearray | memoryview, *, check: bool = True) -> tuple[RegionFeatures, dict[str, Any]]:
    """The regions and the source of a record. The arrays own their memory and can be written to.

    Raises StoreError where the checksum is wrong, or the header is not that of a record.
    """
    if check and not is_whole(data):
        raise StoreError("its checksum is wrong")
    buffer = bytearray(data)  # the one copy
    header, start = read_header(buffer)
    arrays = {
        name: np.frombuffer(buffer, dtype, count=int(np.prod(shape)), offset=start + offset).reshape(shape)
        for name, (dtype, shape, offset) in header["arrays"].items()
    }
    regions = RegionFeatures(
        image_id=ImageId(header["image_id"]), height=header["height"], width=header["width"], **arrays
    )
    return regions, header["source"]
