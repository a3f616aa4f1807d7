"""No input makes a reader do anything but read it, or say in a VltoolError why it cannot.

A few hundred inputs each here; `make fuzz` tries as many as time allows (docs/fuzzing.md).
"""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.changes import changed
from tests.fuzz.targets import TARGETS
from vltool.registry import READERS

by_name = pytest.mark.parametrize("name", sorted(TARGETS))


def test_every_reader_of_a_dataset_has_its_target() -> None:
    others = {"vqa_v2": "vqa_questions", "flickr30k_entities": "entities_sentence"}  # those of several files
    assert {others.get(name, name) for name in READERS.own} <= TARGETS.keys()


@by_name
def test_the_seeds_are_read(name: str) -> None:
    seeds = TARGETS[name].seeds
    assert any(TARGETS[name](seed) for seed in seeds), "a target whose seeds are all refused tests nothing"


@by_name
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_changed_inputs_are_read_or_refused(name: str, data: st.DataObject) -> None:
    target = TARGETS[name]
    draw = data.draw(st.randoms(use_true_random=False))
    target(changed(data.draw(st.sampled_from(target.seeds)), target.kind, draw))


@by_name
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(name: str, data: bytes) -> None:
    TARGETS[name](data)


def test_changes_are_many_and_come_again_from_the_same_seed() -> None:
    seed = TARGETS["karpathy"].seeds[0]
    found = [changed(seed, "json", random.Random(number)) for number in range(100)]
    assert len(set(found)) > 80
    assert found == [changed(seed, "json", random.Random(number)) for number in range(100)]
