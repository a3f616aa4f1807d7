"""Arrays in the dress of foreign files: base64 text, `.npy` and `.npz` bytes, boxes as shares of the picture."""

from __future__ import annotations

import base64
import io
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import replace
from tokenize import TokenError
from typing import Any

import numpy as np

from vltool import plain_pickle
from vltool.errors import DataError
from vltool.features.formats.format import Content

# What decoding a damaged row may raise.
DAMAGE = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
MOST_UNPACKED = 1 << 30  # bytes of one picture's arrays
ROW_ARRAYS = ("classes", "scores", "attributes", "attribute_scores")


def from_base64(text: str | bytes, dtype: str, count: int, *, name: str) -> np.ndarray:
    """(count, ...) flat rows of a base64 text. Raises DataError where the length does not fit."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise DataError(f"{name}: {error} ({len(text):,} characters)") from error
    width, rest = divmod(len(data), count * np.dtype(dtype).itemsize)
    if rest or not width:
        raise DataError(f"{name}: {len(data):,} bytes of {dtype} are not an array of {count} rows")
    return np.frombuffer(data, dtype).reshape(count, width)


def to_base64(array: np.ndarray, dtype: str) -> bytes:
    return base64.b64encode(np.ascontiguousarray(array, dtype).tobytes())


def read_npy(data: bytes) -> Any:
    """The array of a `.npy` file; where it is a pickled object, that object, if it is plain data."""
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        _, _, dtype = reader(file)
    except (SyntaxError, TokenError) as error:  # its header is read as Python's own tokens are
        raise DataError(f"not a whole .npy: {error!r:.100}") from error
    if not dtype.hasobject:
        file.seek(0)
        return np.lib.format.read_array(file, allow_pickle=False)
    array = plain_pickle.loads(data[file.tell() :])
    return array.item() if isinstance(array, np.ndarray) and array.ndim == 0 else array


def write_npy(value: Any) -> bytes:
    """The bytes of a `.npy` file: an array, or a pickled dictionary."""
    file = io.BytesIO()
    if isinstance(value, dict):
        layout = {"descr": "|O", "fortran_order": False, "shape": ()}
        np.lib.format.write_array_header_1_0(file, layout)
        boxed = np.empty((), dtype=object)
        boxed[()] = value
        file.write(plain_pickle.dumps(boxed))
    else:
        np.lib.format.write_array(file, np.asanyarray(value), version=(1, 0), allow_pickle=False)
    return file.getvalue()


def read_npz(data: bytes) -> dict[str, Any]:
    """The arrays of a `.npz` file by name. Raises DataError where it is not one."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
            if unpacked > MOST_UNPACKED:
                raise DataError(f"an .npz of {len(data):,} bytes that unpacks to {unpacked:,}: refused")
            return {name.removesuffix(".npy"): read_npy(archive.read(name)) for name in archive.namelist()}
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise DataError(f"not a whole .npz: {error}") from error


def write_npz(values: Mapping[str, Any]) -> bytes:
    """The bytes of a compressed `.npz` file, as numpy's savez_compressed makes them."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in values.items():
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), write_npy(value), zipfile.ZIP_DEFLATED)
    return file.getvalue()


def shares(boxes: np.ndarray, height: int, width: int) -> np.ndarray:
    """(N, 6) float32: x1 y1 x2 y2, width and height of boxes as shares of the picture's."""
    corners = boxes.astype(np.float32) / np.array([width, height, width, height], np.float32)
    return np.concatenate([corners, corners[:, 2:] - corners[:, :2]], axis=1)


def at_size(content: Content, size: tuple[int, int] | None) -> Content:
    """The content with boxes in pixels. size: (height, width) where the file does not know it.

    Where nobody does, the picture counts as 1 x 1 and the boxes stay shares of it.
    """
    if content.height is not None and content.width is not None:
        return content
    height, width = size or (1, 1)
    scale = np.array([width, height, width, height], np.float32)
    return replace(content, boxes=content.boxes.astype(np.float32) * scale, height=height, width=width)


def check(content: Content) -> None:
    """Raises DataError for a content that cannot be a picture's regions."""
    features, boxes = content.features, content.boxes
    if features.ndim != 2 or features.dtype.kind != "f" or not features.size:
        raise DataError(f"features of shape {features.shape} and type {features.dtype}, expected (regions, width)")
    if boxes.shape != (len(features), 4) or boxes.dtype.kind not in "fiu":
        raise DataError(f"boxes of shape {boxes.shape} for {len(features)} regions, expected ({len(features)}, 4)")
    if not (finite(features) and finite(boxes)):
        raise DataError("numbers that are not finite among its features or boxes")
    if (boxes[:, 2:] < boxes[:, :2]).any():
        row = int(np.flatnonzero((boxes[:, 2:] < boxes[:, :2]).any(axis=1))[0])
        raise DataError(f"box {row} is {boxes[row].tolist()}, expected x1 y1 x2 y2 with x1 <= x2 and y1 <= y2")
    if content.height is not None and content.width is not None and min(content.height, content.width) < 1:
        raise DataError(f"a picture of {content.width} x {content.height} pixels")
    for name in ROW_ARRAYS:
        values = getattr(content, name)
        if values is not None and (values.shape != (len(features),) or values.dtype.kind not in "fiu"):
            raise DataError(f"{name} of shape {values.shape} and type {values.dtype} for {len(features)} regions")
        if values is not None and not finite(values):
            raise DataError(f"numbers that are not finite among its {name}")


def finite(values: np.ndarray) -> bool:
    """Whether all numbers are, and can be float32."""
    with np.errstate(over="ignore"):
        return bool(np.isfinite(values.astype(np.float32)).all())
