"""When which task is trained: the switching schedule of section 4.1 of the paper.

With #iter = Σ #iter_i and α_i = #iter_i / #iter, a cycle has C updates of which task i gets C·α_i, consecutive;
there are ⌊#iter / C⌋ cycles, and the learning rate is halved after every Σ #step_i updates.
"""

from __future__ import annotations

from dataclasses import dataclass

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

    def tasks_in(self, cycle: int) -> tuple[ScheduledTask, ...]:
        """The tasks that have joined by `cycle`, in order, each with its whole number of updates.

        The stages of the curriculum divide the cycles evenly; a task joins in its `first_stage`.
        """
        stages = sorted({task.first_stage for task in self.tasks})
        stage = stages[min(cycle * len(stages) // self.num_cycles, len(stages) - 1)]
        joined = [task for task in self.tasks if task.first_stage <= stage]
        shares = whole_shares([task.num_updates for task in joined], self.cycle_updates)
        return tuple(ScheduledTask(task.task, share) for task, share in zip(joined, shares, strict=True))

    def updates_before(self, cycle: int) -> int:
        """How many updates the cycles before `cycle` hold."""
        return sum(task.updates_per_cycle for earlier in range(cycle) for task in self.tasks_in(earlier))

    def updates_of(self, name: str, *, before_cycle: int) -> int:
        """How many updates of one task the cycles before `before_cycle` hold."""
        return sum(
            task.updates_per_cycle
            for earlier in range(before_cycle)
            for task in self.tasks_in(earlier)
            if task.name == name
        )


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
