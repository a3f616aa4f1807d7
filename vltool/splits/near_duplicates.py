"""Pictures that are the same or nearly the same under different names, found by their hashes.

A hash is hexadecimal: SHA-256 of the file (64 digits: equal or nothing), or a perceptual hash such as imagehash's
`phash` (16 digits), where the distance is the number of differing bits. Hashes of different lengths never meet.

A picture may have several hashes: its own, then those of its mirrored and turned forms. The trained picture's own is
compared with all of the evaluated one, so that a copy whose orientation tag was lost is found too.

Pairs within distance d are found without comparing all with all: cut into d + 1 bands, two such hashes agree in at
least one, so only hashes with an equal band are compared.

MAX_DISTANCE is set by measurement (tests/splits/test_resaved_pictures.py): 600 pictures of the generated world and 110
photographs, saved again at quality 40 to 90 and half to double size, turned or not, are 4 bits off at most (photographs
mostly 0); two different ones of the world differ in 6 bits or more in any turn, two photographs in 14 or more.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from vltool.errors import DataError
from vltool.structures import ImageId

_SHA256_DIGITS = 64
_HEXADECIMAL = re.compile(r"[0-9a-fA-F]+")
_WORD_BITS = 64
_LARGEST_PRIME = 2**61 - 1
_PAIRS_AT_ONCE = 2**22
MAX_DISTANCE = 4

Hashes = Mapping[ImageId, str | Sequence[str]]
"""id → hexadecimal, or several: the picture's own first, then as it would be if it were turned."""


def near_duplicates(
    train: Collection[ImageId], evaluated: Collection[ImageId], hashes: Hashes, *, max_distance: int = MAX_DISTANCE
) -> list[dict[str, Any]]:
    """{"a": trained picture, "b": evaluated picture, "distance": bits} for pairs of different ids, nearest first.

    hashes: id → hexadecimal; pictures without a hash are not compared. Raises DataError for a hash that is none.
    """
    if max_distance < 0:
        raise DataError(f"near duplicates: expected a distance ≥ 0, found {max_distance}")
    nearest: dict[tuple[ImageId, ImageId], int] = {}
    trained, sought = _by_hash(train, hashes, turned=False), _by_hash(evaluated, hashes, turned=True)
    for digits in sorted({digits for digits, _ in trained} & {digits for digits, _ in sought}):
        distance = 0 if digits == _SHA256_DIGITS else max_distance
        left = [value for length, value in trained if length == digits]
        right = [value for length, value in sought if length == digits]
        for a_hash, b_hash in _near(left, right, bits=4 * digits, max_distance=distance):
            bits = (a_hash ^ b_hash).bit_count()
            for a in trained[digits, a_hash]:
                for b in sought[digits, b_hash]:
                    if a != b:
                        nearest[a, b] = min(bits, nearest.get((a, b), bits))
    rows = [{"a": a, "b": b, "distance": bits} for (a, b), bits in nearest.items()]
    return sorted(rows, key=lambda row: (row["distance"], row["a"], row["b"]))


def _by_hash(ids: Iterable[ImageId], hashes: Hashes, *, turned: bool) -> dict[tuple[int, int], list[ImageId]]:
    """(digits, value) → the pictures with that hash. turned: with all their hashes, not only their own."""
    found: dict[tuple[int, int], list[ImageId]] = defaultdict(list)
    for image_id in sorted(set(ids)):
        if image_id not in hashes:
            continue
        given = hashes[image_id]
        several = list(given) if isinstance(given, list | tuple) else [given]
        for text in several if turned else several[:1]:
            if not isinstance(text, str) or not _HEXADECIMAL.fullmatch(text):
                raise DataError(f"hash of {image_id!r}: expected hexadecimal digits, found {text!r:.80}")
            found[len(text), int(text, 16)].append(image_id)
    return dict(found)


def _near(left: list[int], right: list[int], *, bits: int, max_distance: int) -> set[tuple[int, int]]:
    """Every pair of a left and a right value that differ in at most `max_distance` bits."""
    if max_distance == 0:
        return {(value, value) for value in set(left) & set(right)}
    left_words, right_words = _words(left, bits), _words(right, bits)  # (L, bits / 64), (R, bits / 64)
    found: set[tuple[int, int]] = set()
    for low, high in pairwise(bits * band // (max_distance + 1) for band in range(max_distance + 2)):
        for places, others in _equal_bands(left, right, low, high):
            step = max(1, _PAIRS_AT_ONCE // len(places))
            for start in range(0, len(others), step):
                chosen = others[start : start + step]
                differing = left_words[places][:, None] ^ right_words[chosen][None]  # (places, chosen, words)
                near = np.nonzero(np.bitwise_count(differing).sum(-1, dtype=np.int64) <= max_distance)
                found |= {(left[places[a]], right[chosen[b]]) for a, b in zip(*near, strict=True)}
    return found


def _equal_bands(left: list[int], right: list[int], low: int, high: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Places in left and in right of the values whose bits low … high - 1 are equal (or fall together)."""
    mask = (1 << (high - low)) - 1
    left_keys, right_keys = (
        np.array([(value >> low & mask) % _LARGEST_PRIME for value in values], np.int64) for values in (left, right)
    )
    left_order, right_order = np.argsort(left_keys, kind="stable"), np.argsort(right_keys, kind="stable")
    shared = np.intersect1d(left_keys, right_keys)
    bounds = [
        np.searchsorted(keys[order], shared, side)
        for keys, order in ((left_keys, left_order), (right_keys, right_order))
        for side in ("left", "right")
    ]
    for a, b, c, d in zip(*bounds, strict=True):
        yield left_order[a:b], right_order[c:d]


def _words(values: list[int], bits: int) -> np.ndarray:
    """(N, ceil(bits / 64)) uint64: the bits of whole numbers."""
    width = -(-bits // _WORD_BITS)
    content = b"".join(value.to_bytes(8 * width, "big") for value in values)
    return np.frombuffer(content, ">u8").reshape(len(values), width)
