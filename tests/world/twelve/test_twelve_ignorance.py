"""Without the picture, little is reached on any of the twelve datasets."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.world.twelve import ignorance

TEXT_AT_MOST = {  # percent; on the small world of the tests, whose splits are a tenth of the usual ones
    "GQA val": 42,
    "GQA testdev": 48,
    "Visual Genome QA test": 38,
    "NLVR2 dev": 52,
    "NLVR2 test1": 52,
    "SNLI-VE test": 36,
}
BOXES_AT_MOST = {
    "refcoco testA+testB": 35,
    "refcoco+ testA+testB": 40,
    "refcocog test": 40,
    "Visual7W test": 45,
    "GuessWhat test": 40,
}


@pytest.mark.parametrize("name", TEXT_AT_MOST)
def test_text_alone_tells_little(twelve_world: Path, name: str) -> None:
    train, test = ignorance.labelled(twelve_world)[name]
    assert ignorance.by_lookup(train, test) <= TEXT_AT_MOST[name]
    assert ignorance.by_words(train, test) <= TEXT_AT_MOST[name]


@pytest.mark.parametrize("name", BOXES_AT_MOST)
def test_boxes_alone_tell_little(twelve_world: Path, name: str) -> None:
    choices = ignorance.pointing(twelve_world)[name]
    assert ignorance.by_chance(choices) <= 26
    assert ignorance.by_rule(choices) <= BOXES_AT_MOST[name]


def test_baselines_find_what_there_is_to_find() -> None:
    told = [("is it a dog", "yes"), ("is it a cat", "no")] * 3
    assert ignorance.by_lookup(told, told) == ignorance.by_words(told, told) == 100
    largest = [([[0.0, 0.0, 5.0, 5.0], [0.0, 0.0, 9.0, 9.0]], 1), ([[0.0, 0.0, 7.0, 7.0], [0.0, 0.0, 2.0, 2.0]], 0)]
    assert (ignorance.by_chance(largest), ignorance.by_rule(largest)) == (50, 100)
