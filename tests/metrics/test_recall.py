"""Retrieval: a table worked by hand, and a plain loop over every pair."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vltool.errors import DataError
from vltool.metrics import recall
from vltool.metrics.recall import retrieval_ranks, retrieval_scores


def plain_loop(scores: np.ndarray, caption_image: list[int], ks: tuple[int, ...]) -> dict[str, Any]:
    """The definition, pair by pair."""
    images, captions = [], []
    for row in range(len(scores)):
        own = [c for c, image in enumerate(caption_image) if image == row]
        best = max(scores[row][c] for c in own)
        images.append(sum(1 for c, image in enumerate(caption_image) if image != row and scores[row][c] >= best))
    for c, image in enumerate(caption_image):
        captions.append(sum(1 for row in range(len(scores)) if row != image and scores[row][c] >= scores[image][c]))
    found: dict[str, Any] = {}
    for way, ranks in (("image_to_text", images), ("text_to_image", captions)):
        found[way] = {f"recall@{k}": 100 * sum(rank < k for rank in ranks) / len(ranks) for k in ks}
        found[way]["median_rank"] = float(np.floor(np.median(ranks)) + 1)
        found[way]["mean_rank"] = sum(ranks) / len(ranks) + 1
    found["rsum"] = sum(found[way][f"recall@{k}"] for way in ("image_to_text", "text_to_image") for k in ks)
    return found


def flat(found: dict[str, Any]) -> dict[str, float]:
    ways = {f"{way}.{name}": value for way in ("image_to_text", "text_to_image") for name, value in found[way].items()}
    return {**ways, "rsum": found["rsum"]}


def test_a_table_worked_by_hand() -> None:
    scores = np.array(
        [
            # captions 0, 1 of picture 0; 2 of picture 1; 3, 4 of picture 2
            [0.9, 0.2, 0.5, 0.1, 0.3],  # best own 0.9: first
            [0.8, 0.4, 0.7, 0.7, 0.1],  # own 0.7: behind 0.8 and the tie 0.7: third
            [0.9, 0.3, 0.1, 0.2, 0.6],  # best own 0.6: behind 0.9: second
        ]
    )
    # captions: 0 ties with picture 2 (second); 1 behind 0.4 and 0.3 (third); 2 first; 3 behind 0.7 (second); 4 first
    found = retrieval_scores(scores, np.array([0, 0, 1, 2, 2]), ks=(1, 2))
    assert found["image_to_text"] == pytest.approx(
        {"recall@1": 100 / 3, "recall@2": 200 / 3, "median_rank": 2, "mean_rank": 2}
    )
    assert found["text_to_image"] == pytest.approx(
        {"recall@1": 40.0, "recall@2": 80.0, "median_rank": 2, "mean_rank": 9 / 5}
    )
    assert found["rsum"] == pytest.approx(100 + 120)


@st.composite
def score_tables(draw: st.DrawFn) -> tuple[np.ndarray, list[int]]:
    num_images = draw(st.integers(1, 6))
    extra = draw(st.lists(st.integers(0, num_images - 1), max_size=8))
    caption_image = draw(st.permutations([*range(num_images), *extra]))
    values = st.integers(-2, 2).map(float)  # few values: many ties
    rows = draw(
        st.lists(
            st.lists(values, min_size=len(caption_image), max_size=len(caption_image)),
            min_size=num_images,
            max_size=num_images,
        )
    )
    return np.array(rows, draw(st.sampled_from([np.float16, np.float32, np.float64, np.int32]))), list(caption_image)


@settings(max_examples=150, deadline=None)
@given(score_tables())
def test_equals_the_plain_loop(table: tuple[np.ndarray, list[int]]) -> None:
    scores, caption_image = table
    found = retrieval_scores(scores, np.array(caption_image))
    assert flat(found) == pytest.approx(flat(plain_loop(scores, caption_image, (1, 5, 10))))


def test_blocks_do_not_change_the_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    scores, caption_image = (
        rng.integers(0, 9, (40, 120)).astype(np.float32),
        rng.permutation(np.repeat(np.arange(40), 3)),
    )
    whole = retrieval_ranks(scores, caption_image)
    monkeypatch.setattr(recall, "_BLOCK_ENTRIES", 700)
    for one, other in zip(whole, retrieval_ranks(scores, caption_image), strict=True):
        np.testing.assert_array_equal(one, other)


def test_folds_are_consecutive_and_averaged() -> None:
    rng = np.random.default_rng(1)
    scores, caption_image = rng.random((6, 12)), np.repeat(np.arange(6), 2)
    parts = [retrieval_scores(scores[k : k + 3, 2 * k : 2 * k + 6], np.repeat(np.arange(3), 2)) for k in (0, 3)]
    found = retrieval_scores(scores, caption_image, folds=2)
    assert flat(found) == pytest.approx({name: np.mean([flat(part)[name] for part in parts]) for name in flat(found)})


def test_a_tie_counts_against_us() -> None:
    found = retrieval_scores(np.zeros((4, 4)), np.arange(4), ks=(1, 3))
    assert found["image_to_text"]["recall@3"] == found["text_to_image"]["recall@3"] == 0.0


@pytest.mark.parametrize(
    ("scores", "caption_image", "folds", "message"),
    [
        (np.zeros((2, 3)), [0, 1], 1, "shape"),
        (np.zeros((2, 2)), [0, 0], 1, "1 of 2 pictures have no caption, first row 1"),
        (np.zeros((2, 2)), [0, 2], 1, "rows 0 to 2 for 2 pictures"),
        (np.zeros((2, 2)), [0.0, 1.0], 1, "one row number a caption"),
        (np.array([[0.0, np.nan], [0.0, 0.0]]), [0, 1], 1, "row 0, column 1 is not a number"),
        (np.zeros((3, 3)), [0, 1, 2], 2, "do not fall into 2 folds"),
        (np.full((1, 1), "a"), [0], 1, "expected numbers"),
    ],
)
def test_what_cannot_be_scored_is_refused(
    scores: np.ndarray, caption_image: list[int], folds: int, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        retrieval_scores(scores, np.array(caption_image), folds=folds)


def sorted_and_reversed(scores: np.ndarray, caption_image: np.ndarray) -> tuple[list[int], list[int]]:
    """Ranks as a script finds them that sorts (keeping the order of equals), reverses, and looks items up."""
    order = [c for row in range(len(scores)) for c in np.flatnonzero(caption_image == row)[:5]]
    by_image = scores[:, order]
    images = []
    for row, values in enumerate(by_image):
        found = np.argsort(values, kind="stable")[::-1].tolist()
        images.append(min(found.index(5 * row + k) for k in range(5)))
    captions = [np.argsort(v, kind="stable")[::-1].tolist().index(k // 5) for k, v in enumerate(by_image.T)]
    return images, captions


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5), st.integers(0, 4), st.integers(0, 10**6))
def test_scan_ties_are_those_of_sorting_and_reversing(num_images: int, extra: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    caption_image = rng.permutation([*np.repeat(np.arange(num_images), 5), *rng.integers(0, num_images, extra)])
    scores = rng.integers(0, 3, (num_images, len(caption_image))).astype(np.float32)
    found = retrieval_scores(scores, caption_image, ties="scan")
    for way, ranks in zip(recall.WAYS, sorted_and_reversed(scores, caption_image), strict=True):
        assert found[way]["recall@1"] == pytest.approx(100 * np.mean(np.array(ranks) < 1))
        assert found[way]["recall@5"] == pytest.approx(100 * np.mean(np.array(ranks) < 5))
        assert found[way]["mean_rank"] == pytest.approx(np.mean(ranks) + 1)
        assert found[way]["median_rank"] == np.floor(np.median(ranks)) + 1


def test_scan_ties_worked_by_hand() -> None:
    found = retrieval_scores(np.zeros((2, 10)), np.repeat([0, 1], 5), ks=(1, 2), ties="scan")
    assert found["image_to_text"]["recall@1"] == 50.0  # the last caption ranks first: it is the second picture's
    assert found["text_to_image"]["recall@1"] == 50.0
    assert found["image_to_text"]["mean_rank"] == (6 + 1) / 2


def test_without_ties_both_ways_to_count_agree_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recall, "_BLOCK_ENTRIES", 90)
    rng = np.random.default_rng(3)
    scores = rng.permutation(12 * 60).reshape(12, 60).astype(np.float32)
    against, scan = (
        retrieval_scores(scores, np.repeat(np.arange(12), 5), folds=3, ties=t) for t in ("against", "scan")
    )
    assert flat(against) == flat(scan)


def test_scan_needs_five_captions_of_every_picture() -> None:
    with pytest.raises(DataError, match="5 captions of every picture; row 1 has 4"):
        retrieval_scores(np.zeros((2, 9)), np.repeat([0, 1], [5, 4]), ties="scan")
    with pytest.raises(DataError, match="choose against or scan"):
        retrieval_scores(np.zeros((1, 1)), np.zeros(1, int), ties="mean")  # type: ignore[arg-type]
