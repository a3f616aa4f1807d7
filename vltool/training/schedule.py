"""When which task is trained: the switching schedule of section 4.1 of the paper.

With #iter = Σ #iter_i and α_i = #iter_i / #iter, a cycle has C updates of which task i gets C·α_i, consecutive;
there are ⌊#iter / C⌋ cycles, and the learning rate is halved after every Σ #step_i updates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from vltool.errors import ConfigError
from vltool.structures import TaskPlan
from vltool.training.sampling import runs_of_cycle
from vltool.training_config import Curriculum, Sampling


@dataclass(frozen=True)
class ScheduledTask:
    """A task and its share of one cycle, or of what is left of it; where tasks take turns, one run of turns."""

    name: str
    updates_per_cycle: int  # C * alpha_i


@dataclass(frozen=True)
class JointPlan:
    """What Algorithm 1 runs: the plan of each task and C, the number of updates in a cycle.

    sampling: the order of the turns in a cycle (training/sampling.py); sizes (how many examples train each task) and
    seed are for the order that draws.
    """

    tasks: tuple[TaskPlan, ...]
    cycle_updates: int  # C
    sampling: Sampling = "periodic"
    sizes: Mapping[str, int] = field(default_factory=dict)
    seed: int = 0

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
        joined = self.joined_by(cycle)
        runs = runs_of_cycle(
            self.sampling,
            whole_shares([task.num_updates for task in joined], self.cycle_updates),
            sizes=[self.sizes.get(task.task, 1) for task in joined],
            cycle=cycle,
            seed=self.seed,
        )
        found = []
        for place, count in runs:
            done = min(skip, count)
            skip -= done
            found.append(ScheduledTask(joined[place].task, count - done))
        return tuple(found)

    def joined_by(self, cycle: int) -> list[TaskPlan]:
        """The tasks whose stage of the curriculum has come by `cycle`."""
        stages = sorted({task.first_stage for task in self.tasks})
        stage = stages[min(cycle * len(stages) // self.num_cycles, len(stages) - 1)]
        return [task for task in self.tasks if task.first_stage <= stage]

    def updates_before(self, cycle: int | None = None) -> int:
        """How many updates the cycles before `cycle` hold; without it, all of them."""
        return (self.num_cycles if cycle is None else cycle) * self.cycle_updates

    def updates_of(self, name: str, *, before_cycle: int, skip: int = 0) -> int:
        """How many updates of one task the cycles before `before_cycle`, and the first `skip` of that cycle, hold."""
        count = sum(self._share(name, self.tasks_in(earlier)) for earlier in range(before_cycle))
        if skip:
            whole, left = self.tasks_in(before_cycle), self.tasks_in(before_cycle, skip=skip)
            count += self._share(name, whole) - self._share(name, left)
        return count

    @staticmethod
    def _share(name: str, runs: Sequence[ScheduledTask]) -> int:
        return sum(task.updates_per_cycle for task in runs if task.name == name)


def in_stages(tasks: Sequence[TaskPlan], curriculum: Curriculum) -> tuple[TaskPlan, ...]:
    """The plan of a curriculum: when each task joins. A plan that names stages of its own keeps them.

    true: one task, then two, … then all (section 4.1 of Nguyen and Okatani), the lowest level first. fast-first: those
    that converge soonest alone join first; slow-first, 12-in-1's anti-curriculum, the other way round. How long a task
    takes is its number of updates in the plan, which the search found on it alone; equals join together.
    """
    if not curriculum or any(task.first_stage for task in tasks):
        return tuple(tasks)
    key: dict[Curriculum, Callable[[int], tuple[int, ...]]] = {
        True: lambda place: (tasks[place].level, place),
        "fast-first": lambda place: (tasks[place].num_updates,),
        "slow-first": lambda place: (-tasks[place].num_updates,),
    }
    keys = [key[curriculum](place) for place in range(len(tasks))]
    stages = sorted(set(keys))
    return tuple(replace(task, first_stage=stages.index(own)) for task, own in zip(tasks, keys, strict=True))


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
