"""Any image file as upright RGB pixels.

Orientation (EXIF, or XMP where there is no EXIF) is applied, transparency is laid on white, 16 bits become 8, of an
animation the first frame is taken. Colour profiles are not applied: detectors were trained on files read that way.
"""

from __future__ import annotations

import hashlib
import io
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from vltool.errors import DataError
from vltool.remote_files import RemoteFile

ImagePath = Path | RemoteFile

# Of folders, the files with these suffixes are read; a file that is named is read whatever it is called.
IMAGE_SUFFIXES = frozenset(
    ".apng .avif .bmp .dib .gif .jfif .jp2 .jpe .jpeg .jpg .pbm .pgm .png .pnm .ppm .tga .tif .tiff .webp".split()  # noqa: SIM905
)
MAX_PIXELS = 2 * 89_478_485  # where Pillow itself speaks of a decompression bomb; about 178 million
ORIENTATION = 0x0112  # the EXIF tag
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class ImageFile:
    """A picture and what identifies the file it came from.

    pixels: (height, width, 3) uint8 RGB, upright. orientation: EXIF's number of how the file's pixels lay, 1 upright.
    sha256: hex digest of the file's bytes.
    """

    pixels: np.ndarray
    orientation: int
    name: str
    num_bytes: int
    sha256: str


def read_image(path: str | ImagePath) -> np.ndarray:
    """(height, width, 3) uint8 RGB of an image file, upright. Raises DataError with the reason where it is none."""
    return load_image(path).pixels


def load_image(path: str | ImagePath) -> ImageFile:
    """An image file read once: its pixels, name, size and hash. Raises DataError with the reason where it is none."""
    path = Path(path) if isinstance(path, str) else path
    data = path.read_bytes() if isinstance(path, RemoteFile) else read_local(path)
    pixels, orientation = decode_upright(data, where=str(path))
    return ImageFile(
        pixels=pixels,
        orientation=orientation,
        name=as_text(path.name),
        num_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
    )


def read_local(path: Path) -> bytes:
    """The content of a file. Raises DataError with the reason where there is none."""
    try:
        if not (path.is_file() or path.is_dir() or not path.exists()):
            raise DataError(f"{path}: not a file, but a pipe, a socket or a device")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error


def as_text(name: str) -> str:
    """A file's name that can be stored and shown: bytes in it that are not UTF-8 become \\x.. escapes."""
    return os.fsencode(name).decode(errors="backslashreplace")


def decode_image(data: bytes, *, where: str) -> np.ndarray:
    """(height, width, 3) uint8 RGB of the bytes of an image file, upright; `where` names them in errors."""
    return decode_upright(data, where=where)[0]


def decode_upright(data: bytes, *, where: str) -> tuple[np.ndarray, int]:
    """The same, and the orientation (1 to 8, EXIF's numbers) that the pixels had in the file."""
    if not data:
        raise DataError(f"{where}: the file is empty")
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(f"{where}: {image.width} x {image.height} pixels, more than the {MAX_PIXELS:,} allowed")
            image.load()
            orientation = orientation_of(image)
            upright = image.transpose(UPRIGHT[orientation]) if orientation != 1 else image
            return np.ascontiguousarray(np.asarray(to_rgb(upright, where=where))), orientation
    except DataError:
        raise
    except UnidentifiedImageError as error:
        raise DataError(f"{where}: not an image in a format that Pillow reads") from error
    except Image.DecompressionBombError as error:
        raise DataError(f"{where}: refused as a decompression bomb: {error}") from error
    except Exception as error:  # decoders of some forty formats raise almost anything on damaged files
        raise DataError(f"{where}: damaged or truncated image: {error or type(error).__name__}") from error


def orientation_of(image: Image.Image) -> int:
    """The number of its orientation tag; 1, upright, where there is none, or one that cannot be read."""
    try:
        orientation = image.getexif().get(ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - broken metadata does not spoil the pixels
        return 1
    return int(orientation) if orientation in UPRIGHT else 1


def to_rgb(image: Image.Image, *, where: str) -> Image.Image:
    """The picture in 8-bit RGB, whatever its mode, with transparency laid on white."""
    if image.mode.startswith("I") or image.mode == "F":
        return gray_to_rgb(image, where=where)
    transparent = "A" in image.mode or "a" in image.mode or "transparency" in image.info
    if not transparent or image.mode == "LAB":
        return image.convert("RGB")
    layered = image.convert("RGBA")
    white = Image.new("RGBA", layered.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, layered).convert("RGB")


def gray_to_rgb(image: Image.Image, *, where: str) -> Image.Image:
    """Grayscale of more than 8 bits in 8 bits: 65535 becomes 255. One gray value may stand for transparent."""
    values = np.asarray(image)
    if values.dtype.kind == "f" or values.min() < 0 or values.max() > 65535:
        raise DataError(
            f"{where}: pixels of mode {image.mode} from {values.min()} to {values.max()} have no defined brightness; "
            "save the picture with 8 or 16 bits"
        )
    gray = np.rint(values.astype(np.float32) / 257).astype(np.uint8)
    transparency = image.info.get("transparency")
    if isinstance(transparency, int):
        gray = np.where(values == transparency, np.uint8(255), gray)
    return Image.fromarray(gray).convert("RGB")
