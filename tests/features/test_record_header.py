"""Records whose checksum is right and whose header is not: made to harm, or by a program with a fault."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from typing import Any

import msgpack
import numpy as np
import pytest

from vltool.errors import DataError, StoreError
from vltool.features import record
from vltool.features.formats import uniter
from vltool.features.formats.arrays import read_npy
from vltool.structures import ImageId, RegionFeatures

WHOLE = record.encode(
    RegionFeatures(ImageId("coco:7"), np.ones((2, 4), np.float16), np.zeros((2, 4), np.float32), height=40, width=60)
)


def with_header(change: Callable[[dict[str, Any]], Any]) -> bytes:
    header, start = record.read_header(WHOLE)
    change(header)
    text = json.dumps(header).encode()
    text += b" " * (-(record.PREFIX.size + len(text)) % record.ALIGNMENT)
    body = struct.pack("<I", len(text)) + text + WHOLE[start:]
    return record.MAGIC + struct.pack("<I", zlib.crc32(body)) + body


def test_a_header_as_it_was_is_read() -> None:
    assert record.decode(with_header(lambda header: None))[0].num_regions == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda header: header["arrays"].pop("boxes"),
        lambda header: header["arrays"].update(features=["|O", [2, 4], 0]),
        lambda header: header["arrays"].update(features=["<f2", [2, 4000000], 0]),
        lambda header: header["arrays"].update(features=["<f2", [2, 4], 10**9]),
        lambda header: header["arrays"].update(features=["<f2", [2, 4], -16]),
        lambda header: header["arrays"].update(features=["<f2", [-2, -4], 0]),
        lambda header: header["arrays"].update(boxes=["<f4", [1, 4], 16]),
        lambda header: header["arrays"].update(code=["<f4", [2, 4], 0]),
        lambda header: header["arrays"].update(boxes="<f4"),
        lambda header: header.update(arrays=7),
        lambda header: header.update(height=0),
        lambda header: header.update(width="60"),
        lambda header: header.update(image_id=None),
        lambda header: header.pop("source"),
    ],
)
def test_a_header_that_does_not_describe_its_record_is_refused(change: Callable[[dict[str, Any]], Any]) -> None:
    data = with_header(change)
    assert record.is_whole(data) and not record.is_of("coco:7", data)
    for read in (record.decode, record.layout_of):
        with pytest.raises(StoreError, match=r"header|size"):
            read(data)


def test_a_npy_header_that_is_no_python_is_a_damaged_file() -> None:
    header = b"{'descr': '<f4', 'fortran_order': False( 'shape': (2, 4), }"
    data = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header
    with pytest.raises((DataError, ValueError), match=r"not a whole \.npy|header"):
        read_npy(data)


def test_a_number_format_in_msgpack_that_is_none_is_refused() -> None:
    array = {b"nd": True, b"type": b",f2", b"kind": b"", b"shape": [2], b"data": b"abcd"}
    with pytest.raises(DataError, match="features is an array of ',f2', expected numbers"):
        uniter.unpack(msgpack.packb({b"features": array}))
