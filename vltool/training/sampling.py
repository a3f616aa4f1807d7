"""The order of the tasks' turns within a cycle: Algorithm 1's, and the others in use.

periodic      ([1]*Cα_1 + … + [M]*Cα_M): each task's turns of a cycle come together (Nguyen and Okatani, section 4.1)
round-robin   one turn each, in order, again and again (12-in-1); the turns go on in order from cycle to cycle
proportional  each turn goes to a task drawn with the size of its training data as its weight
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np

from vltool.training_config import Sampling

Runs = list[tuple[int, int]]
"""(place of a task, how many turns it has in a row), in order."""


def runs_of_cycle(
    sampling: Sampling, shares: Sequence[int], *, sizes: Sequence[int] = (), cycle: int = 0, seed: int = 0
) -> Runs:
    """The turns of one cycle of sum(shares) turns. shares: Cα of each task; sizes: examples each is trained on.

    A cycle's turns depend on nothing but these values, so that a resumed training takes the same ones.
    """
    num_turns = sum(shares)
    if sampling == "periodic":
        return list(enumerate(shares))
    if sampling == "round-robin":
        turns = [(cycle * num_turns + turn) % len(shares) for turn in range(num_turns)]
    else:
        weights = np.array(sizes, float) / sum(sizes)
        turns = np.random.default_rng((seed, cycle)).choice(len(shares), size=num_turns, p=weights).tolist()
    return [(place, len(list(run))) for place, run in groupby(turns)]
