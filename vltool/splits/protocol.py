"""Who may train on what.

clean   every training example is left out whose picture any task evaluates (val or test): 12-in-1's rule, and the
        default
paper   the two trainings of section 5.1 of Nguyen and Okatani (CVPR 2019), each from scratch, each tested only on
        what it has not seen: see PAPER. paper-i and paper-ii name one of them alone
off     nothing is left out and nothing refused; it must be asked for by name
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vltool.errors import ConfigError, SplitError
from vltool.structures import ImageId

PROTOCOLS = ("clean", "paper", "paper-i", "paper-ii", "off")
EVALUATED = ("val", "test")

SplitIds = Mapping[str, Mapping[str, Sequence[tuple[ImageId, ...]]]]
"""task → split (train, val, test) → the pictures of each example."""


@dataclass(frozen=True)
class Training:
    """One training of a protocol: the sets each task trains on, and the (task, split) pairs it may be scored on."""

    name: str
    train: Mapping[str, tuple[str, ...]]
    scored: frozenset[tuple[str, str]]


PAPER = (
    Training(
        name="i",
        train={"caption_retrieval": ("train",), "vqa": ("train",), "grounding": ("train",)},
        scored=frozenset(
            {
                ("caption_retrieval", "val"),
                ("vqa", "val"),
                ("grounding", "val"),
                ("caption_retrieval", "test"),
                ("grounding", "test"),
            }
        ),
    ),
    Training(
        name="ii",
        train={"caption_retrieval": ("train",), "vqa": ("train", "val"), "grounding": ("train",)},
        scored=frozenset({("vqa", "test")}),
    ),
)
"""VQA's val questions are about COCO val pictures, from which COCO's retrieval test pictures come. So training (i) on
train sets alone tests retrieval and grounding (and all that needs val sets only), and training (ii), which adds VQA's
val set, tests VQA."""


@dataclass(frozen=True)
class CleanSplits:
    """What `clean` keeps and leaves out.

    kept: task → places, in its training examples, of those that stay. removed: task → how many are left out.
    pairs: one row for each training task and evaluated set ("task/split") that share pictures: train, evaluated,
    images (how many), examples (how many training examples are about them); an example may count in several rows.
    """

    kept: dict[str, tuple[int, ...]]
    removed: dict[str, int]
    pairs: tuple[dict[str, Any], ...]


def clean(examples: SplitIds) -> CleanSplits:
    """Leave every training example out that is about a picture which any task evaluates, its own included."""
    pairs = shared_pictures(training_sets(examples), evaluated_sets(examples))
    evaluated = {image_id for found in evaluated_sets(examples).values() for image_id in pictures(found)}
    kept = {
        task: tuple(place for place, ids in enumerate(splits.get("train", ())) if evaluated.isdisjoint(ids))
        for task, splits in examples.items()
    }
    removed = {task: len(splits.get("train", ())) - len(kept[task]) for task, splits in examples.items()}
    return CleanSplits(kept, removed, tuple(pair for pair in pairs if pair["images"]))


def apply_protocol(name: str, examples: SplitIds) -> CleanSplits:
    """What stays of every training set under protocol `name`; `pairs` says in any case what is shared.

    Protocols `paper…` and `off` leave nothing out: `paper…` forbid scores instead (`refuse_scoring`). Raises
    ConfigError for another name; `off` is never assumed.
    """
    if name not in PROTOCOLS:
        raise ConfigError(f"unknown split protocol {name!r}: choose {', '.join(PROTOCOLS)}")
    found = clean(examples)
    if name == "clean":
        return found
    everything = {task: tuple(range(len(splits.get("train", ())))) for task, splits in examples.items()}
    return CleanSplits(everything, dict.fromkeys(examples, 0), found.pairs)


def training_sets(examples: SplitIds) -> dict[str, Sequence[tuple[ImageId, ...]]]:
    """task → the pictures of each of its training examples."""
    return {task: splits.get("train", ()) for task, splits in examples.items()}


def evaluated_sets(examples: SplitIds) -> dict[str, Sequence[tuple[ImageId, ...]]]:
    """ "task/split" → the pictures of each example, of every val and test set."""
    return {
        f"{task}/{split}": splits[split] for task, splits in examples.items() for split in EVALUATED if split in splits
    }


def shared_pictures(
    train: Mapping[str, Sequence[tuple[ImageId, ...]]], evaluated: Mapping[str, Sequence[tuple[ImageId, ...]]]
) -> list[dict[str, Any]]:
    """A row for every training and evaluated set: train, evaluated, images in common, training examples about them."""
    sought = {name: pictures(found) for name, found in evaluated.items()}
    rows = []
    for task, found in train.items():
        own = pictures(found)
        for name, ids in sought.items():
            shared = own & ids
            count = sum(1 for example in found if not shared.isdisjoint(example)) if shared else 0
            rows.append({"train": task, "evaluated": name, "images": len(shared), "examples": count})
    return rows


def pictures(examples: Sequence[tuple[ImageId, ...]]) -> set[ImageId]:
    """The distinct pictures of examples."""
    return {image_id for ids in examples for image_id in ids}


def paper_training(name: str) -> Training:
    """Training `i` or `ii` of the paper. Raises ConfigError for another name."""
    for training in PAPER:
        if training.name == name:
            return training
    raise ConfigError(f"protocol paper has no training {name!r}: choose {' or '.join(item.name for item in PAPER)}")


def trainings_of(protocol: str) -> tuple[str, ...]:
    """The protocols of the separate trainings that a run under `protocol` makes: two for `paper`, else itself."""
    return tuple(f"{protocol}-{training.name}" for training in PAPER) if protocol == "paper" else (protocol,)


def training_of(protocol: str) -> Training | None:
    """The paper's training that a run under `protocol` prepares; `paper` alone: (i), which searches and validates."""
    if protocol == "paper":
        return PAPER[0]
    return paper_training(protocol.removeprefix("paper-")) if protocol.startswith("paper-") else None


def train_on(training: Training, available: Mapping[str, Collection[str]]) -> dict[str, tuple[str, ...]]:
    """The sets that each task of a run trains on. available: task → its splits. Raises ConfigError.

    A task that the training does not know, or a split that the task lacks, is an error.
    """
    chosen = {}
    for task, splits in available.items():
        if task not in training.train:
            raise ConfigError(f"protocol paper says nothing of task {task!r}: it knows {', '.join(training.train)}")
        missing = [split for split in training.train[task] if split not in splits]
        if missing:
            raise ConfigError(f"training {training.name} of the paper needs split {missing[0]!r} of task {task!r}")
        chosen[task] = training.train[task]
    return chosen


def refuse_scoring(training: Training, task: str, split: str) -> None:
    """Raises SplitError unless `training` may be scored on `split` of `task`."""
    if (task, split) not in training.scored:
        allowed = ", ".join(sorted(f"{name}/{part}" for name, part in training.scored))
        raise SplitError(
            f"training {training.name} of the paper is not to be scored on {task}/{split}, whose pictures it may have "
            f"seen. It may be scored on {allowed}"
        )
