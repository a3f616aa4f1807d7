"""Checks of single values in files, with errors that name the file, the record, the field and what was expected.

captions_val2014.json: annotations[17].image_id: expected a whole number ≥ 0, found '42'
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from vltool.errors import DataError


class Place(NamedTuple):
    """One record in a file: list_name[number]. Turned into words only when something is wrong with it."""

    path: Path | str
    list_name: str = ""
    number: int | str = ""

    def __str__(self) -> str:
        record = f"{self.list_name}[{self.number}]" if self.list_name else str(self.number)
        return f"{self.path}: {record}" if record else str(self.path)

    def fail(self, field: str, expected: str, found: Any) -> NoReturn:
        """Raise the DataError for one field of this record."""
        name = f"{self}.{field}" if self.list_name or self.number != "" else f"{self}: {field}"
        raise DataError(f"{name}: expected {expected}, found {shown(found)}")


class _Missing:
    def __repr__(self) -> str:
        return "nothing"


MISSING: Any = _Missing()


def shown(value: Any) -> str:
    """A value cut to a length that fits a message."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def record(value: Any, place: Place) -> Mapping[str, Any]:
    """`value` if it is a JSON object."""
    if not isinstance(value, dict):
        raise DataError(f"{place}: expected an object of fields, found {shown(value)}")
    return value


def list_of(fields: Mapping[str, Any], field: str, place: Place) -> list[Any]:
    """The list under `field`."""
    value = fields.get(field, MISSING)
    if not isinstance(value, list):
        place.fail(field, "a list", value)
    return value


def whole(fields: Mapping[str, Any], field: str, place: Place, *, least: int = 0) -> int:
    """The whole number under `field`, not below `least`; true and 1.0 are none."""
    value = fields.get(field, MISSING)
    if type(value) is not int or value < least:
        place.fail(field, f"a whole number ≥ {least}", value)
    return value


def text(fields: Mapping[str, Any], field: str, place: Place, *, blank: bool = False) -> str:
    """The Unicode text under `field`; white space alone passes only if `blank`."""
    value = fields.get(field, MISSING)
    if type(value) is not str:
        place.fail(field, "text", value)
    if not is_unicode(value):
        place.fail(field, "Unicode text (half a surrogate pair is none)", value)
    if not blank and not value.strip():
        place.fail(field, "text that is not blank", value)
    return value


def texts(fields: Mapping[str, Any], field: str, place: Place) -> list[str]:
    """The list of Unicode texts under `field`, blank ones too."""
    value = list_of(fields, field, place)
    if not all(type(item) is str for item in value):
        place.fail(field, "a list of texts", value)
    if not all(map(is_unicode, value)):
        place.fail(field, "a list of Unicode texts (half a surrogate pair is none)", value)
    return value


def is_unicode(text: str) -> bool:
    """Whether a text can be written as UTF-8; what JSON has as "\\ud83d" alone cannot."""
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)


def box_xyxy(value: Any, field: str, place: Place) -> tuple[float, float, float, float]:
    """The box x1 y1 x2 y2 that `value` is; sides may be 0. Text and true are no numbers. field: what messages name."""
    if (
        not isinstance(value, list)
        or len(value) != 4
        or not all(map(_is_number, value))
        or value[2] < value[0]
        or value[3] < value[1]
    ):
        place.fail(field, "four finite numbers [x1, y1, x2 ≥ x1, y2 ≥ y1]", value)
    x1, y1, x2, y2 = map(float, value)
    return x1, y1, x2, y2


def box_xywh(fields: Mapping[str, Any], field: str, place: Place) -> tuple[float, float, float, float]:
    """x1 y1 x2 y2 of the [x, y, width, height] under `field`; sides may be 0, as in COCO itself."""
    value = fields.get(field, MISSING)
    if (
        not isinstance(value, list)
        or len(value) != 4
        or not all(map(_is_number, value))
        or value[2] < 0
        or value[3] < 0
    ):
        place.fail(field, "four finite numbers [x, y, width ≥ 0, height ≥ 0]", value)
    x, y, width, height = map(float, value)
    return x, y, x + width, y + height


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e9  # NaN is not below


def touches(box: tuple[float, float, float, float], *, height: int, width: int) -> bool:
    """Whether a box has any part in its picture; official ones may reach over the edge."""
    x1, y1, x2, y2 = box
    return x1 < width and y1 < height and x2 >= -1 and y2 >= -1  # Entities counts from 1, and some of its boxes from 0
