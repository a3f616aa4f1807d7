"""Tasks that share a decoder: whether they can, and the pool of answers that they have together.

    tasks:
      coco_retrieval: {decoder: retrieval, …}
      flickr30k_retrieval: {decoder: retrieval, …}

12-in-1 shares one head among the tasks of a kind (facebookresearch/vilbert-multi-task at f22b84a, VILBertForVLTasks).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vltool.errors import ConfigError
from vltool.tasks.task import Task
from vltool.text.vocabulary import AnswerPool, most_given

if TYPE_CHECKING:
    from torch import nn

    from vltool.structures import Example


@dataclass(frozen=True)
class Sharer:
    """A task and the decoder that it would have of its own."""

    task: Task[Any]
    decoder: nn.Module


def one_of(sharers: Sequence[Sharer], name: str) -> nn.Module:
    """The decoder for all of them, that of the first. name: the decoder's.

    Raises ConfigError naming two tasks whose decoders differ in kind, in a shape or in what their outputs stand for.
    """
    first = sharers[0]
    for other in sharers[1:]:
        different = _difference(first, other)
        if different:
            raise ConfigError(
                f"tasks.{first.task.name} and tasks.{other.task.name} cannot share the decoder {name!r}: {different}. "
                "Give them the same options, or decoders of their own (tasks.NAME.decoder)"
            )
    return first.decoder


def _difference(first: Sharer, other: Sharer) -> str:
    """What keeps two decoders from being one; empty where nothing does."""
    kinds = [type(sharer.decoder).__name__ for sharer in (first, other)]
    if type(first.decoder) is not type(other.decoder):
        return f"one is a {kinds[0]}, the other a {kinds[1]}"
    parts = [{name: type(part) for name, part in sharer.decoder.named_modules()} for sharer in (first, other)]
    for name in parts[0] | parts[1]:
        if parts[0].get(name) is not parts[1].get(name):
            told = (found[name].__name__ if name in found else "nothing" for found in parts)
            return f"{name} of their {kinds[0]} is {' and '.join(told)}"
    shapes = [
        {name: tuple(value.shape) for name, value in sharer.decoder.state_dict().items()} for sharer in (first, other)
    ]
    for name in shapes[0] | shapes[1]:
        if shapes[0].get(name) != shapes[1].get(name):
            return f"{name} of their {kinds[0]} is {shapes[0].get(name)} and {shapes[1].get(name)}"
    outputs = [tuple(sharer.task.outputs()) for sharer in (first, other)]
    for place, (own, its) in enumerate(zip(*outputs, strict=False)):
        if own != its:
            return f"output {place} stands for {own!r} and for {its!r}"
    if len(outputs[0]) != len(outputs[1]):
        return f"their outputs stand for {len(outputs[0])} and {len(outputs[1])} things"
    return ""


def answer_pools(
    tasks: Mapping[str, Task[Any]],
    training: Mapping[str, Sequence[Example]],
    decoders: Mapping[str, str],
    *,
    threshold: int,
) -> dict[str, AnswerPool]:
    """task → its pool of training answers; tasks that share a decoder have one, of the answers of all of them.

    training: task → its examples. decoders: task → the name of its decoder. threshold: answers that are right more
    often make the pool. A task that adds no answers knows the pool of those it shares with. Raises ConfigError where
    sharers compare answers by different rules.
    """
    groups: dict[str, list[str]] = {}
    answers = {name: task.answers(training[name]) for name, task in tasks.items()}
    for name in tasks:
        if answers[name]:
            groups.setdefault(decoders.get(name, name), []).append(name)
    pools: dict[str, AnswerPool] = {}
    for names in groups.values():
        first = tasks[names[0]]
        for name in names[1:]:
            if type(tasks[name]).normalize_answer is not type(first).normalize_answer:
                raise ConfigError(
                    f"tasks.{first.name} and tasks.{name} cannot share a decoder: they compare answers by different "
                    "rules, and so have no pool together. Give them decoders of their own (tasks.NAME.decoder)"
                )
        right = [
            answer
            for name in names
            if tasks[name].adds_answers
            for answer in tasks[name].correct_answers(training[name])
            or most_given(answers[name], normalize=first.normalize_answer)
        ]
        pool = AnswerPool.build(
            [found for name in names for found in answers[name]],
            correct=right,
            threshold=threshold,
            normalize=first.normalize_answer,
        )
        pools |= dict.fromkeys(names, pool)
    return {name: pools[name] for name in tasks if name in pools}
