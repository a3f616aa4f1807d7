"""What a world is made from, and which of its pictures belong to which of the official splits."""

from dataclasses import dataclass

import numpy as np

from vltool.errors import ConfigError

_SPLIT_STREAM = 5  # third word of the random seed
_OVERLAP = 0.05  # share of Karpathy's val and test pictures that Entities trains on
_SWAPPED = 0.1  # share of Entities' val pictures that are Karpathy test pictures, and the other way round
_LEAST = 4  # pictures that a split must have


@dataclass(frozen=True)
class WorldArguments:
    """What a world is made from; the same arguments give the same bytes."""

    num_train: int
    num_val: int
    num_test: int
    seed: int
    questions_per_image: int

    def __post_init__(self) -> None:
        for name in ("num_train", "num_val", "num_test"):
            if getattr(self, name) < _LEAST:
                key = name.removeprefix("num_")
                raise ConfigError(
                    f"world.{key} (--{key}) is {getattr(self, name)}, but a split needs at least {_LEAST} pictures"
                )
        if self.seed < 0:
            raise ConfigError(f"world.seed (--seed) is {self.seed}, which is negative. Choose a seed from 0 up")
        if self.questions_per_image < 1:
            raise ConfigError(
                f"world.questions_per_image (--questions-per-image) is {self.questions_per_image}; ask at least 1 "
                "question a picture"
            )


@dataclass(frozen=True)
class WorldSplits:
    """Which picture numbers belong where, each list ascending.

    subsets:  the COCO folders, "train2014", "val2014", "test2015": every picture is in one of them.
    karpathy: "train" (all of train2014), and "val", "test", "restval", which divide val2014.
    entities: "train", "val", "test", which divide train2014 and val2014 another way.
    """

    subsets: dict[str, list[int]]
    karpathy: dict[str, list[int]]
    entities: dict[str, list[int]]


def plan_splits(arguments: WorldArguments) -> WorldSplits:
    """The splits of a world, from its arguments alone."""
    num_train, num_val, num_test = arguments.num_train, arguments.num_val, arguments.num_test
    num_restval = max(20, num_test // 4)
    num_val2014 = num_val + num_test + num_restval
    train = list(range(1, num_train + 1))
    val2014 = list(range(num_train + 1, num_train + num_val2014 + 1))
    test2015 = list(range(num_train + num_val2014 + 1, num_train + num_val2014 + num_test + 1))
    rng = np.random.default_rng([arguments.seed, num_val2014, _SPLIT_STREAM])
    shuffled = rng.permutation(val2014).tolist()
    val, test, restval = shuffled[:num_val], shuffled[num_val : num_val + num_test], shuffled[num_val + num_test :]
    shared = [split[: max(1, round(_OVERLAP * len(split)))] for split in (val, test)]
    entities_val, entities_test = val[len(shared[0]) :], test[len(shared[1]) :]
    swapped = round(_SWAPPED * min(len(entities_val), len(entities_test)))
    entities_val[:swapped], entities_test[:swapped] = entities_test[:swapped], entities_val[:swapped]
    return WorldSplits(
        subsets={"train2014": train, "val2014": val2014, "test2015": test2015},
        karpathy={"train": train, "val": sorted(val), "test": sorted(test), "restval": sorted(restval)},
        entities={
            "train": sorted([*train, *restval, *shared[0], *shared[1]]),
            "val": sorted(entities_val),
            "test": sorted(entities_test),
        },
    )
