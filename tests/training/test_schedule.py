"""The switching schedule: hand-worked from section 4.1 of the paper."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vltool.errors import ConfigError
from vltool.structures import TaskPlan
from vltool.training.joint import train_jointly
from vltool.training.schedule import JointPlan, in_stages, whole_shares


def plan(task: str, num_updates: int, *, level: int = 1, step_size: int = 10, first_stage: int = 0) -> TaskPlan:
    return TaskPlan(task, level, num_updates, 8, step_size, first_stage)


def test_schedule_is_the_papers() -> None:
    """#iter = 10, C = 5, alphas .6 and .4: ([1]*3 + [2]*2) * 2."""
    joint = JointPlan((plan("a", 6), plan("b", 4)), cycle_updates=5)
    seen: list[str] = []
    train_jointly(
        joint,
        batches={"a": iter(range(100)), "b": iter(range(100))},  # type: ignore[dict-item]
        update=lambda name, batch: seen.append(name),
        after_cycle=lambda cycle: bool(seen.append(str(cycle))),  # type: ignore[func-returns-value]
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
        after_cycle=lambda cycle: bool(cycles.append(cycle)),  # type: ignore[func-returns-value]
        start_cycle=1,
    )
    assert cycles == [1]


def test_starting_within_a_cycle_runs_what_is_left_of_it() -> None:
    joint = JointPlan((plan("a", 6), plan("b", 4)), cycle_updates=5)
    for done in range(11):
        seen: list[str] = []
        start = min(done // 5, 1)
        train_jointly(
            joint,
            batches={"a": iter(range(9)), "b": iter(range(9))},  # type: ignore[dict-item]
            update=lambda name, batch, seen=seen: seen.append(name),  # type: ignore[misc]
            after_cycle=lambda cycle: False,
            start_cycle=start,
            skip=done - 5 * start,
        )
        assert seen == list("aaabbaaabb")[done:]
        before = [joint.updates_of(name, before_cycle=start, skip=done - 5 * start) for name in "ab"]
        assert before == [list("aaabbaaabb")[:done].count(name) for name in "ab"]


def test_a_cycle_after_which_it_is_enough_is_the_last() -> None:
    joint = JointPlan((plan("a", 20),), cycle_updates=5)
    seen: list[str] = []
    train_jointly(
        joint,
        batches={"a": iter(range(99))},  # type: ignore[dict-item]
        update=lambda name, batch: seen.append(name),
        after_cycle=lambda cycle: cycle == 1,
    )
    assert len(seen) == 10


def test_the_curriculum_goes_from_single_tasks_to_pairs_to_all() -> None:
    """Section 4.1: "training first on single tasks, then on pairs of tasks, and finally on all tasks"."""
    tasks = in_stages((plan("high", 12, level=3), plan("low", 12, level=1), plan("middle", 12, level=2)), True)
    assert [task.task for task in tasks] == ["high", "low", "middle"]
    joint = JointPlan(tasks, cycle_updates=6)
    assert [{task.name: task.updates_per_cycle for task in joint.tasks_in(cycle)} for cycle in range(6)] == [
        {"low": 6},
        {"low": 6},
        {"low": 3, "middle": 3},
        {"low": 3, "middle": 3},
        {"high": 2, "low": 2, "middle": 2},
        {"high": 2, "low": 2, "middle": 2},
    ]


def test_those_that_converge_soonest_alone_join_first_or_last() -> None:
    tasks = (plan("slow", 30), plan("fast", 10), plan("as fast", 10), plan("middle", 20))
    assert [task.first_stage for task in in_stages(tasks, "fast-first")] == [2, 0, 0, 1]
    assert [task.first_stage for task in in_stages(tasks, "slow-first")] == [0, 2, 2, 1]
    assert in_stages(tasks, False) == tasks
    joint = JointPlan(in_stages(tasks, "slow-first"), cycle_updates=7)
    assert [len(joint.joined_by(cycle)) for cycle in range(joint.num_cycles)] == [1, 1, 1, 1, 2, 2, 2, 4, 4, 4]


def turns(joint: JointPlan, cycles: range) -> list[str]:
    return [task.name for cycle in cycles for task in joint.tasks_in(cycle) for _ in range(task.updates_per_cycle)]


def test_round_robin_gives_every_task_a_turn_in_order_from_cycle_to_cycle() -> None:
    joint = JointPlan((plan("a", 60), plan("b", 30), plan("c", 3)), cycle_updates=4, sampling="round-robin")
    assert turns(joint, range(3)) == list("abcabcabcabc")
    one_each = JointPlan(joint.tasks, cycle_updates=3)  # a cycle of one turn each is round-robin by itself
    assert turns(one_each, range(4)) == list("abcabcabcabc")
    assert joint.updates_of("a", before_cycle=2, skip=2) == 4
    assert sum(task.updates_per_cycle for task in joint.tasks_in(1, skip=3)) == 1
    late = JointPlan((plan("a", 6), plan("b", 6, first_stage=1)), cycle_updates=3, sampling="round-robin")
    assert turns(late, range(4)) == list("aaaaaa") + list("ababab")


def test_proportional_draws_turns_by_the_size_of_the_data() -> None:
    tasks = (plan("a", 5), plan("b", 5))
    joint = JointPlan(tasks, cycle_updates=10, sampling="proportional", sizes={"a": 300, "b": 100}, seed=1)
    drawn = turns(joint, range(400))
    assert len(drawn) == 4000
    assert drawn.count("a") / 4000 == pytest.approx(0.75, abs=0.02)
    assert turns(joint, range(5, 6)) == drawn[50:60]  # a cycle depends on nothing before it
    whole = joint.tasks_in(7)
    left = joint.tasks_in(7, skip=4)
    assert sum(task.updates_per_cycle for task in left) == 6
    assert [task.name for task in whole] == [task.name for task in left]


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=5),
    st.integers(5, 30),
    st.sampled_from(["periodic", "round-robin", "proportional"]),
)
def test_every_order_fills_a_cycle_and_skipping_leaves_its_end(counts: list[int], total: int, sampling: Any) -> None:
    joint = JointPlan(tuple(plan(str(k), n) for k, n in enumerate(counts)), total, sampling=sampling)
    whole = turns(joint, range(3, 4))
    assert len(whole) == total and joint.updates_before(3) == 3 * total
    for skip in (1, total - 1):
        left = [t.name for t in joint.tasks_in(3, skip=skip) for _ in range(t.updates_per_cycle)]
        assert left == whole[skip:]


def test_stages_written_into_the_plan_are_kept() -> None:
    tasks = (plan("a", 10, first_stage=1), plan("b", 10))
    assert in_stages(tasks, True) == tasks


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
