"""Changes of inputs that a reader knows: bytes flipped, cut, doubled; values of JSON replaced; numbers made strange."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

STRANGE_NUMBERS = (0, -1, 1, 255, 256, 65535, 2**31 - 1, 2**31, 2**32, 2**63 - 1, 2**63, 10**40, -(10**30))
STRANGE_VALUES: tuple[Any, ...] = (
    *(None, True, False, "", " ", "\0", "nan", "NaN", float("nan"), float("inf"), -0.0, 1e308, 0.5),
    *STRANGE_NUMBERS,
    *([], {}, [[]], [None], {"": None}, "\ud800", "x" * 5000, "1" * 5000, "٣", "../../etc/passwd", "{number}"),
)
STRANGE_BYTES = (b"\0", b"\xff", b"\n", b"\t", b"\r\n", b"\xef\xbb\xbf", b"[", b"]", b"/", b"#", b"&x;", b"<", b"1e999")


def changed(data: bytes, kind: str, draw: random.Random) -> bytes:
    """`data` with one to four changes of its kind ("bytes", "text", "json")."""
    if kind == "json" and draw.random() < 0.8:
        value = _content(data)
        if value is not None:
            for _ in range(draw.randint(1, 4)):
                value = changed_value(value, draw)
            try:
                return json.dumps(value).encode("utf-8", errors="surrogatepass")
            except (ValueError, RecursionError):
                return b"[" * draw.randint(1, 3000)
    for _ in range(draw.randint(1, 4)):
        data = changed_bytes(data, draw)
    return data


def _content(data: bytes) -> Any:
    try:
        return json.loads(data) if data[:1] in (b"{", b"[") else None
    except ValueError:  # several lines of JSON, say
        return None


def changed_bytes(data: bytes, draw: random.Random) -> bytes:
    at, end = sorted(draw.randint(0, len(data)) for _ in range(2))
    way = draw.randrange(8)
    if way == 0 and data:  # one bit
        at = min(at, len(data) - 1)
        return data[:at] + bytes([data[at] ^ 1 << draw.randrange(8)]) + data[at + 1 :]
    if way == 1:
        return data[:at]
    if way == 2:
        return data[:at] + data[end:]
    if way == 3:
        return data[:end] + data[at:end][:1000] + data[end:]
    if way == 4:
        return data[:at] + draw.randbytes(draw.randint(1, 16)) + data[at:]
    if way == 5:
        return data[:at] + draw.choice(STRANGE_BYTES) + data[at:]
    if way == 6:  # a number of four or eight bytes
        size = draw.choice((2, 4, 8))
        number = draw.choice(STRANGE_NUMBERS) % 2 ** (8 * size)
        return data[:at] + number.to_bytes(size, draw.choice(("little", "big"))) + data[at + size :]
    digits = [place for place, byte in enumerate(data) if 48 <= byte < 58]
    if not digits:
        return data
    at = draw.choice(digits)
    return data[:at] + str(draw.choice(STRANGE_NUMBERS)).encode() + data[at + 1 :]


def changed_value(value: Any, draw: random.Random) -> Any:
    """A JSON value of which one part is replaced, taken away or doubled."""
    value = copy.deepcopy(value)
    places = list(_places(value))
    if not places:
        return draw.choice(STRANGE_VALUES)
    holder, key = draw.choice(places)
    way = draw.randrange(5)
    if way == 0:
        del holder[key]
    elif way == 1 and isinstance(holder, list):
        holder.append(copy.deepcopy(holder[key]))
    elif way == 2 and isinstance(holder, dict):
        holder[str(draw.choice(STRANGE_VALUES))[:50]] = holder.pop(key)
    elif way == 3:
        holder[key] = copy.deepcopy(draw.choice(places)[0])
    else:
        holder[key] = copy.deepcopy(draw.choice(STRANGE_VALUES))
    return value


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in list(items):
        yield value, key
        yield from _places(item)
