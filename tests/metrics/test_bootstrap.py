"""Bootstrap intervals: against resampling item by item, and how often they hold the truth."""

from __future__ import annotations

import json

import numpy as np
import pytest

from vltool.errors import DataError
from vltool.metrics import bootstrap
from vltool.metrics.bootstrap import difference_intervals, intervals, resampled
from vltool.metrics.item_scores import ItemScores, Part, Score, statistic_of
from vltool.metrics.localization import PhraseRanking, grounding_items
from vltool.metrics.recall import retrieval_items, retrieval_scores
from vltool.metrics.vqa_accuracy import accuracy_items


def retrieval(seed: int, folds: int = 1) -> ItemScores:
    rng = np.random.default_rng(seed)
    caption_image = np.repeat(np.arange(12), rng.integers(1, 4, 12))
    own = caption_image == np.arange(12)[:, None]
    return retrieval_items(rng.normal(0, 1, own.shape) + own, caption_image, ks=(1, 2), folds=folds)


def grounding(seed: int) -> ItemScores:
    rng = np.random.default_rng(seed)
    box, far = [0, 0, 10, 10], [50, 50, 60, 60]
    candidates = [[far] * int(rank) + [box] * int(rank < 3) for rank in rng.integers(0, 4, 30)]
    return grounding_items(
        [PhraseRanking(c, [box], ("people", "other")[: 1 + k % 2], f"coco:{k // 4}") for k, c in enumerate(candidates)]
    )


def questions(seed: int) -> ItemScores:
    rng = np.random.default_rng(seed)
    return accuracy_items(
        rng.integers(0, 4, 25) * 0.3, list(range(25)), types={"accuracy/": rng.choice(["yes/no", "other"], 25)}
    )


def one_by_one(items: ItemScores, draws: int, seed: int) -> dict[str, list[float]]:
    """The definition: draw units, list the items of each as often as it was drawn, score the list."""
    rng = np.random.default_rng(seed)
    found: dict[str, list[float]] = {name: [] for name in items.formulas}
    for _ in range(draws):
        drawn, start, numbers = [], 0, iter(rng.random(len(items.unit_ids)))
        for size in items.strata:
            drawn += [start + int(next(numbers) * size) for _ in range(size)]
            start += size
        listed = {
            name: np.array([value for unit in drawn for value in part.values[part.units == unit]])
            for name, part in items.parts.items()
        }
        scores: dict[str, float] = {}
        for name, (statistic, parts) in items.formulas.items():
            if statistic == "sum":
                scores[name] = sum(scores[part] for part in parts)
            else:
                scores[name] = float(np.mean([statistic_of(listed[part], statistic) for part in parts]))
            found[name].append(scores[name])
    return found


@pytest.mark.parametrize("items", [retrieval(0), retrieval(1, folds=3), grounding(0), questions(0)])
def test_equals_resampling_item_by_item(items: ItemScores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "_ENTRIES_AT_ONCE", 200)  # several chunks
    (found,) = resampled([items], draws=60, seed=3)
    expected = one_by_one(items, 60, 3)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=1e-9, err_msg=name)


def test_an_interval_depends_on_the_seed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    once = intervals(questions(1), draws=50, seed=1)
    monkeypatch.setattr(bootstrap, "_ENTRIES_AT_ONCE", 1)
    assert intervals(questions(1), draws=50, seed=1) == once
    assert intervals(questions(1), draws=50, seed=2) != once


def test_the_difference_is_of_the_same_draws() -> None:
    first, second = retrieval(2), ItemScores(*vars(retrieval(2)).values())
    for interval in difference_intervals(first, second, draws=40).values():
        assert (interval.value, interval.low, interval.high) == (0, 0, 0)
    part = first.parts["text_to_image/0"]
    worse = {**first.parts, "text_to_image/0": Part(part.values + 1, part.units)}
    moved = difference_intervals(first, ItemScores("image", first.unit_ids, worse, first.formulas), draws=40)
    rank = moved["text_to_image.mean_rank"]
    assert rank.value == pytest.approx(1) and rank.low == pytest.approx(1) and rank.high == pytest.approx(1)


def test_other_items_have_no_paired_difference() -> None:
    with pytest.raises(DataError, match="not scored on the same items"):
        difference_intervals(questions(0), grounding(0))


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """Clusters of two answers that are right together: the truth is 60 percent, and 95 of 100 intervals hold it."""
    rng = np.random.default_rng(0)
    held, held_difference, num_trials = 0, 0, 300
    units = np.repeat(np.arange(100), 2)
    for _ in range(num_trials):
        hard = rng.random(100)
        pair = []
        for chance in (0.6, 0.7):
            right = 100.0 * (0.5 * hard + 0.5 * rng.random(100) < chance_limit(chance))
            part = Part(np.repeat(right, 2), units)
            pair.append(ItemScores("image", tuple(map(str, range(100))), {"all": part}, {"s": Score("mean", ("all",))}))
        found = intervals(pair[0], draws=200, seed=1)["s"]
        held += found.low <= 60 <= found.high
        difference = difference_intervals(*pair, draws=200, seed=1)["s"]
        held_difference += difference.low <= 10 <= difference.high
    assert 0.91 <= held / num_trials <= 0.985
    assert 0.91 <= held_difference / num_trials <= 0.985


def chance_limit(chance: float) -> float:
    """Below which the mean of two uniform numbers lies with this chance (at least one half)."""
    return float(1 - np.sqrt((1 - chance) / 2))


@pytest.mark.parametrize("items", [retrieval(0, folds=2), grounding(1), questions(2)])
def test_items_survive_json(items: ItemScores) -> None:
    again = ItemScores.from_json(json.loads(json.dumps(items.to_json())))
    assert again.same_items(items) and again.scores() == items.scores()
    assert intervals(again, draws=20) == intervals(items, draws=20)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("kind",), "words", "expected scores of single items"),
        (("units",), 3, "damaged"),
        (("strata",), [1], "strata of 1 units"),
        (("parts", "all", "units"), [0] * 24 + [99], "damaged.*cannot be"),
        (("parts", "all", "values"), [1.0], "damaged"),
        (("parts", "all", "values"), [10**400] * 25, "damaged"),
        (("scores", "accuracy", "statistic"), "recall@0", "score 'accuracy' cannot be made"),
        (("scores", "accuracy", "parts"), ["none"], "score 'accuracy' cannot be made"),
    ],
)
def test_damaged_items_are_refused(path: tuple[str, ...], value: object, message: str) -> None:
    content = json.loads(json.dumps(questions(0).to_json()))
    inner = content
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    with pytest.raises(DataError, match=message):
        ItemScores.from_json(content, where="items.json")


def test_items_give_the_scores_of_the_metric() -> None:
    rng = np.random.default_rng(5)
    caption_image = np.repeat(np.arange(6), 2)
    scores = rng.integers(0, 5, (6, 12)).astype(float)
    flat = retrieval_items(scores, caption_image, folds=2).scores()
    found = retrieval_scores(scores, caption_image, folds=2)
    assert flat["image_to_text.recall@1"] == found["image_to_text"]["recall@1"] and flat["rsum"] == found["rsum"]


def test_too_few_draws_are_refused() -> None:
    with pytest.raises(DataError, match="at least 2 draws"):
        intervals(questions(0), draws=1)
