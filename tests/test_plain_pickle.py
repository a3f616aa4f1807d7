"""Pickles of a few bytes that would take gigabytes or forever; code in pickles: test_formats_damage.py."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from vltool import plain_pickle
from vltool.errors import DataError


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x80\x03]r.\x9c\x0b\x1d.", "numbers its object 2 as 487300142"),
        (b"\x80\x03]p487300142\n.", "damaged|numbers its object"),
        (b"\x80\x05\x96" + (2**60).to_bytes(8, "little") + b"abc.", "only 4 remain"),
        (b"cbuiltins\nbytearray\n(I99999999999\ntR.", "bytearray of a int: refused"),
    ],
)
def test_no_room_is_made_that_the_file_cannot_fill(data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        plain_pickle.loads(data)


def test_a_list_that_stands_in_many_places_is_gone_through_once() -> None:
    value: list[Any] = []
    for _ in range(60):
        value = [value, value]
    found = plain_pickle.loads(pickle.dumps(value))  # in 60 steps and not 2 ** 60
    assert found[0] is found[1]


def test_plain_data_comes_back_as_it_was() -> None:
    value = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": [b"x", bytearray(b"y"), ("z", 1.5)]}
    for protocol in range(2, 6):
        found = plain_pickle.loads(pickle.dumps(value, protocol=protocol))
        assert found["b"] == value["b"] and np.array_equal(found["a"], value["a"])
        assert type(found["a"]) is np.ndarray
