"""Pickles of arrays and plain containers, read without running anything in them and written for old readers.

A pickle may name any function and have it called. Here only what rebuilds arrays, numbers and containers is let
through; anything else is refused by its name before it is called.
"""

from __future__ import annotations

import collections
import io
import pickle
from typing import Any

import numpy as np

from vltool.errors import DataError

NUMPY_CORES = ("numpy.core", "numpy._core")  # before numpy 2.0, and since
NEW_NAME, OLD_NAME = (f"cnumpy.{core}.multiarray\n_reconstruct\n".encode() for core in ("_core", "core"))


def latin1_bytes(text: str, encoding: str) -> bytes:
    """Stands for `_codecs.encode`, by which Python 3 pickles bytes for Python 2."""
    if encoding != "latin1":
        raise DataError(f"the pickle asks for _codecs.encode to {encoding!r}, which is not plain data")
    return text.encode("latin1")


ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("_codecs", "encode"): latin1_bytes,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    **{
        (module, name): kind
        for module in ("builtins", "__builtin__")
        for name, kind in {"bytearray": bytearray, "set": set, "frozenset": frozenset, "complex": complex}.items()
    },
    **{(f"{core}.multiarray", "_reconstruct"): np.zeros(0).__reduce__()[0] for core in NUMPY_CORES},
    **{(f"{core}.multiarray", "scalar"): np.float64(0).__reduce__()[0] for core in NUMPY_CORES},
    **{(f"{core}.numeric", "_frombuffer"): np.zeros(1).__reduce_ex__(5)[0] for core in NUMPY_CORES},
}


class PlainUnpickler(pickle.Unpickler):
    """Unpickles arrays, numbers, text and containers of them; anything else is refused."""

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data), encoding="latin1")  # Python 2 wrote many of these files

    def find_class(self, module: str, name: str) -> Any:
        try:
            return ALLOWED[module, name]
        except KeyError:
            raise DataError(f"its pickle asks for {module}.{name}, which is not plain data: refused") from None

    def persistent_load(self, pid: Any) -> Any:
        raise DataError("its pickle refers to objects outside of it: refused")


def loads(data: bytes) -> Any:
    """The content of a pickle. Raises DataError where it holds more than plain data, or is damaged."""
    try:
        return PlainUnpickler(data).load()
    except DataError:
        raise
    except Exception as error:  # a damaged pickle fails in any way there is
        raise DataError(f"damaged pickle: {error!r:.200}") from error


def dumps(value: Any) -> bytes:
    """A pickle of plain data that Python 3 with any numpy can read.

    numpy 2 writes a module's name that numpy 1 does not have; both read the old name.
    """
    return pickle.dumps(value, protocol=3).replace(NEW_NAME, OLD_NAME, 1)
