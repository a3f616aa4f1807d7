"""What scores are made of: a number for every item (question, caption, phrase), and the unit that each belongs to.

Units are what the test set is a sample of, pictures for instance; a resample draws whole units (`bootstrap.py`). As
JSON, a retrieval of two pictures with one caption each:

    {"kind": "items", "unit": "image", "units": ["coco:42", "coco:73"], "strata": [2],
     "parts": {"text_to_image/0": {"values": [0, 3], "units": [0, 1]}, …},
     "scores": {"text_to_image.recall@1": {"statistic": "recall@1", "parts": ["text_to_image/0"]}, …}}
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from vltool.errors import DataError

STATISTICS = re.compile(r"mean|found|mean_rank|median_rank|sum|recall@[1-9][0-9]*")
_NEVER = -1  # in JSON, which has no infinity: the rank of what is not found at all


class Part(NamedTuple):
    """Values of items (N,), and the places of their units (N,). Ranks count from 0; infinity is never found."""

    values: np.ndarray
    units: np.ndarray


class Score(NamedTuple):
    """How a score is reached: a statistic of each part, averaged over the parts; or the sum of other scores.

    mean: of the values; found: percent of finite ranks; recall@K: percent of ranks below K; mean_rank, median_rank:
    of ranks counted from 1, the median rounded down.
    """

    statistic: str
    parts: tuple[str, ...]


@dataclass(frozen=True)
class ItemScores:
    """unit: the word for a unit. unit_ids: (U,) its ids. strata: how many units are drawn apart, in order (all)."""

    unit: str
    unit_ids: tuple[str, ...]
    parts: Mapping[str, Part]
    formulas: Mapping[str, Score]
    strata: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.strata:
            object.__setattr__(self, "strata", (len(self.unit_ids),))
        if sum(self.strata) != len(self.unit_ids):
            raise DataError(f"items: strata of {sum(self.strata)} units, but there are {len(self.unit_ids)}")

    def scores(self) -> dict[str, float]:
        """Every score of the items as they are."""
        found: dict[str, float] = {}
        for name, (statistic, parts) in self.formulas.items():
            if statistic == "sum":
                found[name] = sum(found[part] for part in parts)
            else:
                found[name] = float(np.mean([statistic_of(self.parts[part].values, statistic) for part in parts]))
        return found

    def beside(self, other: ItemScores, *, prefix: str) -> ItemScores:
        """The scores of both, those of `other` under names that begin with `prefix`; units and strata stay."""
        assert other.unit_ids == self.unit_ids
        parts = {prefix + name: part for name, part in other.parts.items()}
        formulas = {
            prefix + name: Score(score.statistic, tuple(prefix + part for part in score.parts))
            for name, score in other.formulas.items()
        }
        return ItemScores(self.unit, self.unit_ids, {**self.parts, **parts}, {**self.formulas, **formulas}, self.strata)

    def same_items(self, other: ItemScores) -> bool:
        """Whether both hold scores of the same items in the same order, whatever their values."""
        return (
            self.unit_ids == other.unit_ids
            and self.strata == other.strata
            and self.parts.keys() == other.parts.keys()
            and all(np.array_equal(part.units, other.parts[name].units) for name, part in self.parts.items())
        )

    def to_json(self) -> dict[str, Any]:
        parts = {
            name: {
                "values": np.where(np.isfinite(part.values), part.values, _NEVER).tolist(),
                "units": part.units.tolist(),
            }
            for name, part in self.parts.items()
        }
        scores = {name: {"statistic": score.statistic, "parts": score.parts} for name, score in self.formulas.items()}
        own = {"kind": "items", "unit": self.unit, "units": self.unit_ids, "strata": self.strata}
        return {**own, "parts": parts, "scores": scores}

    @classmethod
    def from_json(cls, content: Any, *, where: str = "items") -> ItemScores:
        """What `to_json` gave. Raises DataError if it is something else or damaged."""
        if not isinstance(content, dict) or content.get("kind") != "items":
            raise DataError(f"{where}: expected scores of single items, as vltool eval writes them")
        try:
            ids = tuple(map(str, content["units"]))
            parts = {name: _part(fields, len(ids)) for name, fields in content["parts"].items()}
            formulas = {
                name: Score(fields["statistic"], tuple(fields["parts"])) for name, fields in content["scores"].items()
            }
            strata = tuple(int(size) for size in content["strata"])
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise DataError(f"{where}: damaged: {error!r}. Score the run again: vltool eval") from error
        _check_formulas(formulas, parts, where)
        return cls(str(content.get("unit", "unit")), ids, parts, formulas, strata)


def statistic_of(values: np.ndarray, statistic: str) -> float:
    """One statistic (see `Score`) of values that all count once."""
    if statistic == "median_rank":
        return float(np.floor(np.median(values)) + 1)
    return float(np.mean(item_values(values, statistic)))


def item_values(values: np.ndarray, statistic: str) -> np.ndarray:
    """What each item adds to a statistic that is a mean: everything but the median."""
    if statistic == "mean":
        return values
    if statistic == "mean_rank":
        return values + 1
    limit = np.inf if statistic == "found" else int(statistic.removeprefix("recall@"))
    return np.where(values < limit, 100.0, 0.0)


def _part(fields: Mapping[str, Any], num_units: int) -> Part:
    values, units = np.array(fields["values"], np.float64), np.array(fields["units"], np.int64)
    if values.ndim != 1 or values.shape != units.shape or not len(values):
        raise ValueError("a part needs one unit for every value")
    if units.min() < 0 or units.max() >= num_units or not np.isfinite(values).all():
        raise ValueError("a unit or value that cannot be")
    return Part(np.where(values == _NEVER, np.inf, values), units)


def _check_formulas(formulas: Mapping[str, Score], parts: Mapping[str, Part], where: str) -> None:
    known: set[str] = set()
    for name, (statistic, of) in formulas.items():
        available = known if statistic == "sum" else set(parts)
        if not isinstance(statistic, str) or not STATISTICS.fullmatch(statistic) or not of or set(of) - available:
            raise DataError(f"{where}: score {name!r} cannot be made of the parts there. Score the run again")
        known.add(name)
