"""How far scores may be off because the test set is a sample: percentile intervals of the bootstrap.

Whole units are drawn with replacement (questions; pictures with all their captions or phrases), as many as there are,
in each stratum apart (the folds of COCO 1K); every score is computed of each draw. Two systems are compared on the
same draws, so that what is hard for both cancels out. Ranks stay what they were among all candidates.
Method: Efron and Tibshirani 1993, sections 13.3 and 16; units as clusters: Davison and Hinkley 1997, section 3.8.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vltool.errors import DataError
from vltool.metrics.item_scores import ItemScores, Part, item_values

LEVEL = 95.0
_ENTRIES_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Interval:
    """A score and the bounds of its interval."""

    value: float
    low: float
    high: float


def intervals(items: ItemScores, *, draws: int = 1000, seed: int = 0, level: float = LEVEL) -> dict[str, Interval]:
    """score → its interval. The same seed gives the same interval. Raises DataError for fewer than 2 draws."""
    (drawn,) = resampled([items], draws=draws, seed=seed)
    return {name: _interval(value, drawn[name], level) for name, value in items.scores().items()}


def difference_intervals(
    first: ItemScores, second: ItemScores, *, draws: int = 1000, seed: int = 0, level: float = LEVEL
) -> dict[str, Interval]:
    """score → the interval of second less first, of two systems scored on the same items.

    Scores that only one of them has are left out. Raises DataError if the items are not the same.
    """
    if not first.same_items(second):
        raise DataError("the two were not scored on the same items: their difference has no paired interval")
    before, after = first.scores(), second.scores()
    one, other = resampled([first, second], draws=draws, seed=seed)
    return {
        name: _interval(after[name] - before[name], other[name] - one[name], level) for name in before if name in after
    }


def bounds(found: Mapping[str, Interval]) -> dict[str, list[float]]:
    """score → [low, high], as results are written."""
    return {name: [interval.low, interval.high] for name, interval in found.items()}


def resampled(systems: Sequence[ItemScores], *, draws: int, seed: int) -> list[dict[str, np.ndarray]]:
    """For each system, score → its values in (draws,) resamples, the same for all; NaN where a draw holds no item."""
    if draws < 2:
        raise DataError(f"bootstrap: expected at least 2 draws, found {draws}")
    prepared = [_Prepared(items) for items in systems]
    chunks: list[list[dict[str, np.ndarray]]] = [[] for _ in systems]
    widest = max(system.width for system in prepared)
    for counts in _draws(systems[0].strata, draws, seed, at_once=max(1, _ENTRIES_AT_ONCE // widest)):
        for system, found in zip(prepared, chunks, strict=True):
            found.append(system.scores(counts))
    return [{name: np.concatenate([c[name] for c in found]) for name in found[0]} for found in chunks]


def _draws(strata: Sequence[int], draws: int, seed: int, *, at_once: int) -> Iterator[np.ndarray]:
    """Chunks of (at_once, U): how often each unit was drawn. Chunks of other sizes hold the same draws."""
    sizes = np.repeat(strata, strata)  # (U,) of the stratum of each unit
    starts = np.repeat(np.cumsum(strata) - strata, strata)
    rng = np.random.default_rng(seed)
    for first in range(0, draws, at_once):
        count = min(at_once, draws - first)
        places = starts + (rng.random((count, len(sizes))) * sizes).astype(np.int64)
        places += len(sizes) * np.arange(count)[:, None]
        yield np.bincount(places.ravel(), minlength=count * len(sizes)).reshape(count, -1)


class _Prepared:
    """Items summed by unit, so that a resample is a product with the counts of its units."""

    def __init__(self, items: ItemScores):
        self._formulas = items.formulas
        self._strata = items.strata
        self._means: dict[str, tuple[np.ndarray, list[str], np.ndarray]] = {}
        self._medians: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        for name, part in items.parts.items():
            wanted = {score.statistic for score in items.formulas.values() if name in score.parts}
            statistics = sorted(wanted - {"sum", "median_rank"})
            if statistics:
                self._means[name] = self._sums(part, statistics)
            if "median_rank" in wanted:
                order = np.argsort(part.values, kind="stable")
                self._medians[name] = part.values[order], part.units[order]

    @property
    def width(self) -> int:
        """Numbers that one resample takes at most: units, or items of a median."""
        return max([sum(self._strata), *(len(values) for values, _ in self._medians.values())])

    @staticmethod
    def _sums(part: Part, statistics: list[str]) -> tuple[np.ndarray, list[str], np.ndarray]:
        """Units of the part (M,), the statistics, and (M, statistics + 1) sums of each unit; last: number of items."""
        units, place = np.unique(part.units, return_inverse=True)
        columns = [np.bincount(place, item_values(part.values, name), len(units)) for name in statistics]
        return units, statistics, np.stack([*columns, np.bincount(place, minlength=len(units))], axis=1)

    def scores(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        """score → (B,) its values in B resamples, in which units came `counts` (B, U) times."""
        statistics: dict[tuple[str, str], np.ndarray] = {}
        for part, (units, names, sums) in self._means.items():
            drawn = counts if len(units) == counts.shape[1] else counts[:, units]
            totals = drawn.astype(np.float64) @ sums
            with np.errstate(invalid="ignore"):
                for column, name in enumerate(names):
                    statistics[part, name] = totals[:, column] / totals[:, -1]
        for part, (values, units) in self._medians.items():
            statistics[part, "median_rank"] = np.floor(_medians(values, counts[:, units])) + 1
        found: dict[str, np.ndarray] = {}
        for name, (statistic, of) in self._formulas.items():
            if statistic == "sum":
                found[name] = np.sum([found[other] for other in of], axis=0)
            else:
                found[name] = np.mean([statistics[part, statistic] for part in of], axis=0)
        return found


def _medians(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(B,) medians of sorted `values` (N,), of which the n-th comes counts[b, n] times."""
    reached = np.cumsum(counts, axis=1)
    found = np.empty(len(counts))
    for row, ends in enumerate(reached):
        middle = np.searchsorted(ends, [(ends[-1] - 1) // 2, ends[-1] // 2], side="right")
        found[row] = values[middle].mean() if ends[-1] else np.nan
    return found


def _interval(value: float, drawn: np.ndarray, level: float) -> Interval:
    outside = (100 - level) / 2
    low, high = np.nanpercentile(drawn, [outside, 100 - outside])
    return Interval(value, float(low), float(high))
