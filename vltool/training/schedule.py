"""When which task is trained: the switching schedule of section 4.1 of the paper.

With #iter = Σ #iter_i and α_i = #iter_i / #iter, a cycle has C updates of which task i gets C·α_i, consecutive;
there are ⌊#iter / C⌋ cycles, and the learning rate is halved after every Σ #step_i updates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from vltool.errors import ConfigError
from vltool.structures import TaskPlan


@dataclass(frozen=True)
class ScheduledTask:
    """A task and its share of one cycle."""

    name: str
    updates_per_cycle: int  # C * alpha_i


@dataclass(frozen=True)
class JointPlan:
    """What Algorithm 1 runs: the plan of each task and C, the number of updates in a cycle."""

    tasks: tuple[TaskPlan, ...]
    cycle_updates: int  # C

    def __post_init__(self) -> None:
        names = [task.task for task in self.tasks]
        if not names or len(set(names)) != len(names):
            raise ConfigError(f"the plan needs every task once, it has: {', '.join(names) or 'none'}")
        for task in self.tasks:
            for name in ("level", "num_updates", "batch_size", "step_size"):
                if getattr(task, name) < 1:
                    raise ConfigError(f"plan of {task.task}: {name} is {getattr(task, name)}, it must be at least 1")
        if self.cycle_updates < len(self.tasks):
            raise ConfigError(
                f"training.cycle_updates is {self.cycle_updates}: a cycle needs at least one update for each of the "
                f"{len(self.tasks)} tasks"
            )

    @property
    def num_updates(self) -> int:  # #iter
        return sum(task.num_updates for task in self.tasks)

    @property
    def num_cycles(self) -> int:
        return max(1, self.num_updates // self.cycle_updates)

    @property
    def step_size(self) -> int:  # #step
        return sum(task.step_size for task in self.tasks)

    def tasks_in(self, cycle: int, *, skip: int = 0) -> tuple[ScheduledTask, ...]:
        """The tasks that have joined by `cycle`, in order, each with its whole number of updates.

        The stages of the curriculum divide the cycles evenly; a task joins in its `first_stage`. skip: how many
        updates of the cycle are done already; what is left of it is given.
        """
        stages = sorted({task.first_stage for task in self.tasks})
        stage = stages[min(cycle * len(stages) // self.num_cycles, len(stages) - 1)]
        joined = [task for task in self.tasks if task.first_stage <= stage]
        shares = whole_shares([task.num_updates for task in joined], self.cycle_updates)
        found = []
        for task, share in zip(joined, shares, strict=True):
            done = min(skip, share)
            skip -= done
            found.append(ScheduledTask(task.task, share - done))
        return tuple(found)

    def updates_before(self, cycle: int | None = None) -> int:
        """How many updates the cycles before `cycle` hold; without it, all of them."""
        cycles = range(self.num_cycles if cycle is None else cycle)
        return sum(task.updates_per_cycle for earlier in cycles for task in self.tasks_in(earlier))

    def updates_of(self, name: str, *, before_cycle: int, skip: int = 0) -> int:
        """How many updates of one task the cycles before `before_cycle`, and the first `skip` of that cycle, hold."""
        count = sum(self._share(name, earlier) for earlier in range(before_cycle))
        if skip:
            left = {task.name: task.updates_per_cycle for task in self.tasks_in(before_cycle, skip=skip)}
            count += self._share(name, before_cycle) - left.get(name, 0)
        return count

    def _share(self, name: str, cycle: int) -> int:
        return sum(task.updates_per_cycle for task in self.tasks_in(cycle) if task.name == name)


def one_by_one(tasks: Sequence[TaskPlan]) -> tuple[TaskPlan, ...]:
    """The paper's curriculum (section 4.1): one task, then two, … then all; those of the lowest levels come first.

    The order of the tasks stays. A plan that names stages of its own keeps them.
    """
    if any(task.first_stage for task in tasks):
        return tuple(tasks)
    order = sorted(range(len(tasks)), key=lambda k: (tasks[k].level, k))
    return tuple(replace(task, first_stage=order.index(k)) for k, task in enumerate(tasks))


def whole_shares(weights: list[int], total: int) -> list[int]:
    """`total` divided in proportion to `weights`, whole numbers of at least 1 (largest remainders first)."""
    exact = [total * weight / sum(weights) for weight in weights]
    shares = [max(1, int(share)) for share in exact]
    by_remainder = sorted(range(len(weights)), key=lambda k: (shares[k] - exact[k], k))
    for k in by_remainder * total:
        if sum(shares) >= total:
            break
        shares[k] += 1
    while sum(shares) > total:  # small tasks were lifted to 1: take from the largest
        shares[shares.index(max(shares))] -= 1
    return shares
