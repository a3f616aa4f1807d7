"""From the names that datasets give a picture to its canonical id.

A pattern such as `coco:{number}` or `flickr30k:{stem}` says how: `{number}` is the last run of digits of the file's
name without leading zeros, `{stem}` its name without folder and suffix.

    COCO_val2014_000000391895.jpg  coco:{number}     coco:391895
    391895                         coco:{number}     coco:391895
    flickr30k-images/92679312.jpg  flickr30k:{stem}  flickr30k:92679312
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from vltool.errors import ConfigError, DataError
from vltool.structures import ImageId

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_DIGITS = re.compile(r"[0-9]+")
_SUFFIX = re.compile(r"\.(jpe?g|png|webp|bmp|gif|tiff?|ppm|xml|txt|json|np[yz])$", re.IGNORECASE)


class ImageNamer:
    """Gives canonical ids after one pattern. Raises ConfigError for a pattern that cannot be used.

    aliases: ids under which pictures are known better (Visual Genome's that are COCO's).
    """

    def __init__(self, pattern: str, aliases: Mapping[ImageId, ImageId] | None = None):
        self.pattern = pattern
        self._aliases = aliases or {}
        fields = _PLACEHOLDER.findall(pattern)
        if not fields or set(fields) - {"number", "stem"}:
            raise ConfigError(
                f"image id pattern {pattern!r}: expected {{number}} or {{stem}} in it, as in coco:{{number}}"
            )
        self.uses_stem = "stem" in fields
        self._uses_number = "number" in fields

    def __call__(self, source: str | int, place: object = "") -> ImageId:
        """The id of the picture called `source`, a path, a file name or a number. Raises DataError, naming `place`."""
        try:
            stem = stem_of(source) if isinstance(source, str) else str(source)
            name = self.pattern
            if self._uses_number:
                name = name.replace("{number}", str(number_of(source)))
        except DataError as error:
            raise DataError(f"{place}: {error}" if place != "" else str(error)) from None
        found = ImageId(name.replace("{stem}", stem) if self.uses_stem else name)
        return self._aliases.get(found, found)


def image_id_of(source: str | int, pattern: str) -> ImageId:
    """The canonical id of the picture called `source`. Raises ConfigError (pattern) or DataError (source)."""
    return ImageNamer(pattern)(source)


def stem_of(name: str) -> str:
    """The name without folders and without an image's or annotation's suffix. Raises DataError if none is left."""
    stem = _SUFFIX.sub("", re.split(r"[/\\]", name)[-1])
    if not stem.strip():
        raise DataError(f"image name {name!r}: expected a file name")
    return stem


def number_of(source: str | int) -> int:
    """The number of a picture: the last run of digits in its stem. Raises DataError if it has no digits."""
    if isinstance(source, int):
        if source < 0:
            raise DataError(f"image number {source}: expected a number ≥ 0")
        return source
    digits = _DIGITS.findall(stem_of(source))
    if not digits or len(digits[-1]) > 18:
        raise DataError(f"image name {source[:80]!r}: expected a number in it; use {{stem}} in the image id pattern")
    return int(digits[-1])
