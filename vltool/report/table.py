"""A table of the page: a data frame, what is bold in it, and how its rows are grouped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any

import pandas as pd

NOTHING = "–"
FIGURE_SPACE = "\u2007"  # as wide as a digit


@dataclass(frozen=True)
class Cell:
    """One cell as it is written."""

    text: str
    numeric: bool = False
    bold: bool = False
    interval: str = ""


@dataclass(frozen=True)
class Group:
    """Rows under one heading. published: they are another system's, reached on other data."""

    heading: str
    rows: list[list[Cell]]
    published: bool = False


@dataclass(frozen=True)
class Table:
    """frame: the columns as shown, numbers as numbers. decimals: of a column's numbers, 1 unless named.

    groups: (heading, number of rows, published), in the order of the rows; one without a heading if empty.
    bold: places (row, column) of the best numbers. signed: columns that show a plus. bounds: (row, column) → the
    interval of a number; stacked: it stands below the number, else beside it. flush_right: columns beside those of
    numbers.
    """

    caption: str
    frame: pd.DataFrame
    note: str = ""
    decimals: Mapping[str, int] = field(default_factory=dict)
    groups: tuple[tuple[str, int, bool], ...] = ()
    bold: frozenset[tuple[int, str]] = frozenset()
    signed: frozenset[str] = frozenset()
    collapsed: bool = False
    bounds: Mapping[tuple[int, str], tuple[float, float]] = field(default_factory=dict)
    stacked: bool = False
    flush_right: frozenset[str] = frozenset()

    @property
    def columns(self) -> list[str]:
        return [str(name) for name in self.frame.columns]

    def numeric(self, column: str) -> bool:
        """Whether a column is set flush right."""
        return column in self.flush_right or pd.api.types.is_numeric_dtype(self.frame[column])

    def grouped(self) -> Iterator[Group]:
        """The rows as they are written, under their headings."""
        start = 0
        for heading, count, published in self.groups or (("", len(self.frame), False),):
            yield Group(heading, [self._row(place) for place in range(start, start + count)], published)
            start += count

    def _row(self, place: int) -> list[Cell]:
        return [
            Cell(
                written(self.frame[column].iloc[place], self.decimals.get(column, 1), signed=column in self.signed),
                self.numeric(column),
                (place, column) in self.bold,
                self._interval(place, column),
            )
            for column in self.columns
        ]

    def _interval(self, place: int, column: str) -> str:
        """The bounds of a number, as wide as the others of its column, so that the numbers stand below each other."""
        known = {key: self._bounds(key) for key in self.bounds if key[1] == column}
        own = known.get((place, column), "")
        if not known or self.stacked:
            return own
        return own.rjust(max(map(len, known.values())), FIGURE_SPACE)

    def _bounds(self, key: tuple[int, str]) -> str:
        decimals, signed = self.decimals.get(key[1], 1), key[1] in self.signed
        low, high = (written(value, decimals, signed=signed) for value in self.bounds[key])
        return f"({low} to {high})"


def written(value: Any, decimals: int = 1, *, signed: bool = False) -> str:
    """A number or a word as a table shows it; what is not known is a dash."""
    if value is None or value is pd.NA or (isinstance(value, float) and value != value):
        return NOTHING
    if isinstance(value, Integral) and not isinstance(value, bool):
        return f"{int(value):,}"
    if isinstance(value, Real) and not isinstance(value, bool):
        rounded = round(float(value), decimals) + 0.0  # no minus before nothing
        text = f"{rounded:+,.{decimals}f}" if signed and rounded else f"{rounded:,.{decimals}f}"
        return text.replace("-", "−")
    return str(value)


def best_places(
    frame: pd.DataFrame, row: int, columns: list[str], *, decimals: int, lower: bool = False
) -> set[tuple[int, str]]:
    """The places of a row's best numbers among `columns`; numbers that look equal are equally good.

    None where all are equal.
    """
    found = {column: frame[column].iloc[row] for column in columns}
    rounded = {column: round(float(value), decimals) for column, value in found.items() if pd.notna(value)}
    if len(set(rounded.values())) < 2:
        return set()
    best = min(rounded.values()) if lower else max(rounded.values())
    return {(row, column) for column, value in rounded.items() if value == best}
