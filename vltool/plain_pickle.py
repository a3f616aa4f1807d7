"""Pickles of arrays and plain containers, read without running anything in them and written for old readers.

A pickle may name any function and have it called. Here only what rebuilds arrays, numbers and containers is let
through; anything else is refused by its name before it is called.
"""

from __future__ import annotations

import collections
import io
import pickle
import pickletools
import re
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


def plain_bytearray(*content: Any) -> bytearray:
    """Stands for `bytearray`, which would make as many zeros as a number says."""
    if content and not isinstance(content[0], (str, bytes)):
        raise DataError(f"its pickle makes a bytearray of a {type(content[0]).__name__}: refused")
    return bytearray(*content)


class PlainDtype:
    """Stands for `numpy.dtype` while a pickle is read: numbers, text of fixed width, and plain values as objects.

    numpy's own takes whatever state a pickle gives it, and a wrong one sends it to memory that is not its own.
    """

    KINDS = re.compile(r"[<>|=]?([biufc][1-9]\d?|[SU]\d{0,6}|\?|O8?)")

    def __init__(self, text: str, *_: Any) -> None:
        if isinstance(text, bytes):
            text = text.decode("latin1")
        if not isinstance(text, str) or not self.KINDS.fullmatch(text):
            raise DataError(f"its pickle holds an array of {text!r:.40}, which is not plain data: refused")
        self.dtype = np.dtype(text)

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) < 5 or any(part is not None for part in state[2:5]):
            raise DataError("its pickle holds an array of records, which is not plain data: refused")
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


class PlainArray(np.ndarray):
    """Stands for `numpy.ndarray` while a pickle is read; numpy checks that bytes and shape agree."""

    def __setstate__(self, state: Any) -> None:
        version, shape, kind, is_fortran, data = state
        expected: Any = list if real_dtype(kind).hasobject else (bytes, bytearray, str)
        if not isinstance(data, expected):
            raise DataError(f"its pickle holds an array whose content is a {type(data).__name__}: refused")
        super().__setstate__((version, shape, real_dtype(kind), is_fortran, data))


def real_dtype(kind: Any) -> np.dtype:
    if not isinstance(kind, PlainDtype):
        raise DataError(f"its pickle holds an array of {type(kind).__name__}: refused")
    return kind.dtype


def empty_array(kind: Any, *_: Any) -> PlainArray:
    """Stands for `_reconstruct`, which makes the array that a state is then given to."""
    if kind is not PlainArray:
        raise DataError(f"its pickle asks for an array of class {kind!r:.60}, which is not plain data: refused")
    return np.ndarray.__new__(PlainArray, (0,))


def scalar(kind: Any, data: bytes | str) -> Any:
    """Stands for numpy's `scalar`: one number."""
    dtype = real_dtype(kind)
    if dtype.hasobject:
        raise DataError("its pickle holds an object as a number: refused")
    data = data.encode("latin1") if isinstance(data, str) else data
    if len(data) != dtype.itemsize:
        raise DataError(f"its pickle holds a number of {len(data)} bytes, expected {dtype.itemsize}")
    return np.frombuffer(data, dtype)[0]


def from_buffer(data: Any, kind: Any, shape: tuple[int, ...], order: str) -> np.ndarray:
    """Stands for numpy's `_frombuffer`: an array whose bytes come first."""
    if real_dtype(kind).hasobject:
        raise DataError("its pickle holds objects as bytes: refused")
    return np.frombuffer(data, real_dtype(kind)).reshape(shape, order="F" if order == "F" else "C")


ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("_codecs", "encode"): latin1_bytes,
    ("numpy", "ndarray"): PlainArray,
    ("numpy", "dtype"): PlainDtype,
    **{
        (module, name): kind
        for module in ("builtins", "__builtin__")
        for name, kind in {"bytearray": plain_bytearray, "set": set, "frozenset": frozenset, "complex": complex}.items()
    },
    **{(f"{core}.multiarray", "_reconstruct"): empty_array for core in NUMPY_CORES},
    **{(f"{core}.multiarray", "scalar"): scalar for core in NUMPY_CORES},
    **{(f"{core}.numeric", "_frombuffer"): from_buffer for core in NUMPY_CORES},
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
        check_sizes(data)
        return as_numpy(PlainUnpickler(data).load(), {})
    except DataError:
        raise
    except Exception as error:  # a damaged pickle fails in any way there is
        raise DataError(f"damaged pickle: {error!r:.200}") from error


def check_sizes(data: bytes) -> None:
    """Raises DataError where a pickle numbers an object as if there were many more, ValueError where it is cut off.

    Python makes room for as many objects as the number says, and for as many bytes: gigabytes for a few bytes.
    """
    argument: Any
    for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and (argument or 0) > count:
            raise DataError(f"its pickle numbers its object {count} as {argument}: refused")


def as_numpy(value: Any, seen: dict[int, Any]) -> Any:
    """The same with numpy's own arrays and dtypes in the place of those that stood for them.

    seen: what was made of each container, by its id: one that stands in many places is gone through once.
    """
    if id(value) in seen:
        return seen[id(value)]
    if isinstance(value, PlainArray):
        found: Any = value.view(np.ndarray)
        if found.dtype.hasobject:
            for place in np.ndindex(found.shape):
                found[place] = as_numpy(found[place], seen)
    elif isinstance(value, PlainDtype):
        found = value.dtype
    elif isinstance(value, dict):
        found = {key: as_numpy(item, seen) for key, item in value.items()}
    elif isinstance(value, list):
        found = [as_numpy(item, seen) for item in value]
    elif isinstance(value, tuple):
        found = tuple(as_numpy(item, seen) for item in value)
    else:
        return value
    seen[id(value)] = found
    return found


def dumps(value: Any) -> bytes:
    """A pickle of plain data that Python 3 with any numpy can read.

    numpy 2 writes a module's name that numpy 1 does not have; both read the old name.
    """
    return pickle.dumps(value, protocol=3).replace(NEW_NAME, OLD_NAME, 1)
