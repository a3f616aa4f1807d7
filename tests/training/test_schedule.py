"""The switching schedule: hand-worked from section 4.1 of the paper."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vltool.errors import ConfigError
from vltool.structures import TaskPlan
from vltool.training.joint import train_jointly
from vltool.training.schedule import JointPlan, whole_shares


def plan(task: str, num_updates: int, *, step_size: int = 10, first_stage: int = 0) -> TaskPlan:
    return TaskPlan(task, 1, num_updates, 8, step_size, first_stage)


def test_schedule_is_the_papers() -> None:
    """#iter = 10, C = 5, alphas .6 and .4: ([1]*3 + [2]*2) * 2."""
    joint = JointPlan((plan("a", 6), plan("b", 4)), cycle_updates=5)
    seen: list[str] = []
    train_jointly(
        joint,
        batches={"a": iter(range(100)), "b": iter(range(100))},  # type: ignore[dict-item]
        update=lambda name, batch: seen.append(name),
        after_cycle=lambda cycle: seen.append(str(cycle)),
    )
    assert seen == ["a", "a", "a", "b", "b", "0", "a", "a", "a", "b", "b", "1"]
    assert joint.num_cycles == 2
    assert joint.step_size == 20
    assert joint.updates_before(1) == 5
    assert joint.updates_of("b", before_cycle=2) == 4


def test_starting_later_runs_only_the_later_cycles() -> None:
    joint = JointPlan((plan("a", 6), plan("b", 4)), cycle_updates=5)
    cycles: list[int] = []
    train_jointly(
        joint,
        batches={"a": iter(range(9)), "b": iter(range(9))},  # type: ignore[dict-item]
        update=lambda name, batch: None,
        after_cycle=cycles.append,
        start_cycle=1,
    )
    assert cycles == [1]


def test_tasks_join_in_their_stage() -> None:
    joint = JointPlan((plan("a", 10), plan("b", 10, first_stage=1)), cycle_updates=5)
    assert [[task.name for task in joint.tasks_in(cycle)] for cycle in range(4)] == [
        ["a"],
        ["a"],
        ["a", "b"],
        ["a", "b"],
    ]


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=6), st.integers(6, 200))
def test_shares_are_whole_and_fill_the_cycle(weights: list[int], total: int) -> None:
    shares = whole_shares(weights, total)
    assert sum(shares) == total
    assert min(shares) >= 1
    exact = [total * weight / sum(weights) for weight in weights]
    assert all(share <= max(1, value + 1) for share, value in zip(shares, exact, strict=True))


@pytest.mark.parametrize(
    ("tasks", "cycle", "message"),
    [
        ((), 5, "every task once"),
        ((plan("a", 1), plan("a", 1)), 5, "every task once"),
        ((plan("a", 0),), 5, "num_updates is 0"),
        ((plan("a", 1), plan("b", 1)), 1, "at least one update for each of the 2 tasks"),
    ],
)
def test_impossible_plans_are_refused(tasks: tuple[TaskPlan, ...], cycle: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        JointPlan(tasks, cycle)
