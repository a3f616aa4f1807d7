"""Algorithm 1 of the paper, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from vltool.structures import Batch
from vltool.training.schedule import JointPlan


def train_jointly(
    plan: JointPlan,
    *,
    batches: Mapping[str, Iterator[Batch]],
    update: Callable[[str, Batch], None],
    after_cycle: Callable[[int], bool],
    takes_turn: Callable[[str], bool] = lambda task_name: True,
    start_cycle: int = 0,
    skip: int = 0,
) -> None:
    """Run the schedule ([1]*Cα_1 + … + [M]*Cα_M) * num_cycles from update `skip` of cycle `start_cycle` on.

    update(task_name, batch): one Adam step on D_i(E_l(i)(x)). after_cycle(cycle): log, evaluate, save; true if that
    was enough. takes_turn(task_name): asked at each turn of a task; 12-in-1's stop-and-go leaves some out.
    """
    for cycle in range(start_cycle, plan.num_cycles):
        for task in plan.tasks_in(cycle, skip=skip if cycle == start_cycle else 0):
            for _ in range(task.updates_per_cycle):  # C * alpha_i
                if takes_turn(task.name):
                    update(task.name, next(batches[task.name]))
        if after_cycle(cycle):
            break
