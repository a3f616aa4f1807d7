"""Which pictures belong to which of the further datasets, and to which of its splits.

As in reality the datasets share pictures, and what one evaluates another trains on: a part of the Visual Genome
pictures are COCO pictures, the RefCOCOs' test pictures are from train2014, GuessWhat?! divides train2014 and val2014
anew. The pictures of GQA's testdev, of NLVR2 and of Conceptual Captions are their own, as are those Visual Genome
pictures that COCO does not have; their numbers follow those of COCO's test2015.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from vltool.errors import ConfigError

VISUAL_GENOME_FIRST = 2_300_000  # Visual Genome's id of picture number 0
PAIRS_A_SET = 4  # pairs of pictures that an NLVR2 set has
LEAST = {"num_train": 40, "num_val": 12, "num_test": 12}

_SPLIT_STREAM = 11  # third word of the random seed
_IN_VISUAL_GENOME = 0.6  # share of COCO's train and val pictures
_VISUAL_GENOME_EVALUATED = {"train2014": 0.04, "val2014": 0.5}  # share of those that its datasets evaluate
_REFERRED = 0.7  # share of train2014 that the RefCOCOs speak of
_REFERRED_EVALUATED = 0.14  # share of train2014 that they evaluate
_LEAKED = 0.08  # share of the pictures evaluated elsewhere in a family that a dataset trains on
_GUESSWHAT_TRAIN = {"train2014": 0.75, "val2014": 0.2}

Split = dict[str, list[int]]


@dataclass(frozen=True)
class TwelveSplits:
    """Picture numbers of each dataset's splits, ascending.

    own: pictures that COCO does not have, by folder: "visual_genome", "gqa", "conceptual_captions".
    nlvr2: of each split a list of sets, of each set its pairs (left picture, right picture).
    The other fields map a split's official name to its pictures.
    """

    visual_genome: list[int]
    own: Split
    visual_genome_qa: Split
    visual7w: Split
    gqa: Split
    refcoco: Split
    refcocog: Split
    guesswhat: Split
    conceptual_captions: Split
    nlvr2: dict[str, list[list[tuple[int, int]]]]


def plan_twelve_splits(
    *, train2014: Sequence[int], val2014: Sequence[int], first_free: int, num_val: int, num_test: int, seed: int
) -> TwelveSplits:
    """The splits, from the pictures of COCO's train and val sets and the first number that no picture has.

    Raises ConfigError where there are too few pictures to divide.
    """
    check_sizes(num_train=len(train2014), num_val=num_val, num_test=num_test)
    rng = np.random.default_rng([seed, len(train2014) + len(val2014), _SPLIT_STREAM])
    num_train = len(train2014)
    numbers = _Numbers(first_free)
    own_train, own_val, own_test = (numbers.take(count // 5) for count in (num_train, num_val, num_test))
    testdev = numbers.take(num_test // 3)
    pairs = {
        split: [[(numbers.one(), numbers.one()) for _ in range(PAIRS_A_SET)] for _ in range(count // 12)]
        for split, count in (("train", num_train), ("dev", num_val), ("test1", num_test))
    }
    captioned = {"training": numbers.take(num_train), "validation": numbers.take(num_val // 3)}

    in_train, in_val = (_some(coco, _IN_VISUAL_GENOME, rng) for coco in (train2014, val2014))
    asked_train = _some(in_train, _VISUAL_GENOME_EVALUATED["train2014"], rng)
    asked_val = _some(in_val, _VISUAL_GENOME_EVALUATED["val2014"], rng)
    evaluated = [*own_val, *own_test, *asked_train, *asked_val]
    to_learn = [*own_train, *_without(in_train, asked_train), *_without(in_val, asked_val)]
    pointing, answering = (_divide(evaluated, {"train": _LEAKED, "val": 0.4}, "test", rng) for _ in range(2))
    gqa = _divide(evaluated, {"train": _LEAKED}, "val", rng)
    for splits in (pointing, answering, gqa):
        splits["train"] = sorted([*splits["train"], *to_learn])

    referred = _some(train2014, _REFERRED, rng)
    held = _some(referred, _REFERRED_EVALUATED / _REFERRED, rng)
    refcoco = _divide(held, {"val": 1 / 3, "testA": 1 / 3}, "testB", rng)
    refcocog = _divide(held, {"train": _LEAKED, "val": 0.4}, "test", rng)
    refcoco["train"] = _without(referred, held)
    refcocog["train"] = sorted([*refcocog["train"], *refcoco["train"]])

    learnt = [*_some(_without(train2014, held), _GUESSWHAT_TRAIN["train2014"], rng)]
    from_val = _some(val2014, _GUESSWHAT_TRAIN["val2014"], rng)
    judged = [*_some(_without(val2014, from_val), 0.3, rng), *_some(held, 0.5, rng)]
    guesswhat = _divide(judged, {"train": _LEAKED, "valid": 0.4}, "test", rng)
    guesswhat["train"] = sorted([*guesswhat["train"], *learnt, *from_val])
    return TwelveSplits(
        visual_genome=sorted([*in_train, *in_val, *own_train, *own_val, *own_test]),
        own={
            "visual_genome": sorted([*own_train, *own_val, *own_test]),
            "gqa": testdev,
            "conceptual_captions": sorted([*captioned["training"], *captioned["validation"]]),
        },
        visual_genome_qa=answering,
        visual7w=pointing,
        gqa={**gqa, "testdev": testdev},
        refcoco=refcoco,
        refcocog=refcocog,
        guesswhat=guesswhat,
        conceptual_captions=captioned,
        nlvr2=pairs,
    )


def check_sizes(**sizes: int) -> None:
    """Raises ConfigError where there are too few pictures (num_train, num_val, num_test) to divide."""
    for name, least in LEAST.items():
        if sizes[name] < least:
            key = name.removeprefix("num_")
            raise ConfigError(
                f"world.{key} (--{key}) is {sizes[name]}, but the twelve datasets need at least {least} pictures there"
            )


class _Numbers:
    """Hands out picture numbers, each once."""

    def __init__(self, first: int) -> None:
        self._next = first

    def one(self) -> int:
        self._next += 1
        return self._next - 1

    def take(self, count: int) -> list[int]:
        return [self.one() for _ in range(count)]


def _some(numbers: Sequence[int], share: float, rng: np.random.Generator) -> list[int]:
    """So large a share of the numbers, at least one, at random, ascending."""
    count = max(1, round(share * len(numbers)))
    return sorted(rng.permutation(np.asarray(numbers))[:count].tolist())


def _without(numbers: Iterable[int], taken: Iterable[int]) -> list[int]:
    return sorted(set(numbers) - set(taken))


def _divide(numbers: Sequence[int], shares: dict[str, float], rest: str, rng: np.random.Generator) -> Split:
    """The numbers divided at random: so large a share to each split, what remains to `rest`."""
    shuffled = rng.permutation(np.asarray(sorted(numbers))).tolist()
    parts: Split = {}
    for split, share in shares.items():
        count = max(1, round(share * len(numbers)))
        parts[split], shuffled = sorted(shuffled[:count]), shuffled[count:]
    return {**parts, rest: sorted(shuffled)}
