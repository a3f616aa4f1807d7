"""Pictures that are the same or nearly the same under different names, found by their hashes.

A hash is hexadecimal: SHA-256 of the file (64 digits: equal or nothing), or a perceptual hash such as imagehash's
`phash` (16 digits), where the distance is the number of differing bits. Hashes of different lengths never meet.

Pairs within distance d are found without comparing all with all: cut into d + 1 bands, two such hashes agree in at
least one, so only hashes with an equal band are compared.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from vltool.errors import DataError
from vltool.structures import ImageId

_SHA256_DIGITS = 64
_HEXADECIMAL = re.compile(r"[0-9a-fA-F]+")
_WORD_BITS = 64


def near_duplicates(
    train: Collection[ImageId], evaluated: Collection[ImageId], hashes: Mapping[ImageId, str], *, max_distance: int = 4
) -> list[dict[str, Any]]:
    """{"a": trained picture, "b": evaluated picture, "distance": bits} for pairs of different ids, nearest first.

    hashes: id → hexadecimal; pictures without a hash are not compared. Raises DataError for a hash that is none.
    """
    if max_distance < 0:
        raise DataError(f"near duplicates: expected a distance ≥ 0, found {max_distance}")
    rows = []
    trained, sought = _by_hash(train, hashes), _by_hash(evaluated, hashes)
    for digits in sorted({digits for digits, _ in trained} & {digits for digits, _ in sought}):
        distance = 0 if digits == _SHA256_DIGITS else max_distance
        left = [value for length, value in trained if length == digits]
        right = [value for length, value in sought if length == digits]
        for a_hash, b_hash in _near(left, right, bits=4 * digits, max_distance=distance):
            rows += [
                {"a": a, "b": b, "distance": (a_hash ^ b_hash).bit_count()}
                for a in trained[digits, a_hash]
                for b in sought[digits, b_hash]
                if a != b
            ]
    return sorted(rows, key=lambda row: (row["distance"], row["a"], row["b"]))


def _by_hash(ids: Iterable[ImageId], hashes: Mapping[ImageId, str]) -> dict[tuple[int, int], list[ImageId]]:
    """(digits, value) → the pictures with that hash."""
    found: dict[tuple[int, int], list[ImageId]] = defaultdict(list)
    for image_id in sorted(set(ids)):
        if image_id in hashes:
            text = hashes[image_id]
            if not isinstance(text, str) or not _HEXADECIMAL.fullmatch(text):
                raise DataError(f"hash of {image_id!r}: expected hexadecimal digits, found {text!r:.80}")
            found[len(text), int(text, 16)].append(image_id)
    return dict(found)


def _near(left: list[int], right: list[int], *, bits: int, max_distance: int) -> set[tuple[int, int]]:
    """Every pair of a left and a right value that differ in at most `max_distance` bits."""
    if max_distance == 0:
        return {(value, value) for value in set(left) & set(right)}
    bounds = [bits * band // (max_distance + 1) for band in range(max_distance + 2)]
    words = _words(left, bits)  # (L, bits / 64)
    found: set[tuple[int, int]] = set()
    for low, high in pairwise(bounds):
        mask = (1 << (high - low)) - 1
        bucket: dict[int, list[int]] = defaultdict(list)
        for place, value in enumerate(left):
            bucket[value >> low & mask].append(place)
        places = {key: np.array(members) for key, members in bucket.items()}
        for other, other_words in zip(right, _words(right, bits), strict=True):
            same_band = places.get(other >> low & mask)
            if same_band is not None:
                distance = np.bitwise_count(words[same_band] ^ other_words).sum(1)
                found |= {(left[place], other) for place in same_band[distance <= max_distance]}
    return found


def _words(values: list[int], bits: int) -> np.ndarray:
    """(N, ceil(bits / 64)) uint64: the bits of whole numbers."""
    width = -(-bits // _WORD_BITS)
    content = b"".join(value.to_bytes(8 * width, "big") for value in values)
    return np.frombuffer(content, ">u8").reshape(len(values), width)
