"""The network of a run, put together from its parts: encoder by name, each task's decoder at its level."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from pydantic import ConfigDict, TypeAdapter, ValidationError

from vltool.config import EncoderConfig, RunConfig
from vltool.errors import ConfigError
from vltool.models.encoder import TASK_TOKEN, Encoder, SentenceFrame
from vltool.models.joint_model import JointModel
from vltool.registry import ENCODERS, resolve
from vltool.tasks.batching import Frame
from vltool.tasks.shared_decoders import Sharer, one_of
from vltool.tasks.task import Task
from vltool.text.words import Words


def encoder_options(config: EncoderConfig) -> Any:
    """The encoder's options with its defaults filled in. Raises ConfigError for a key or value it does not have."""
    options = resolve(ENCODERS, config.name, kind="encoder").Options
    options.__pydantic_config__ = ConfigDict(extra="forbid")
    try:
        return TypeAdapter(options).validate_python(config.options)
    except ValidationError as error:
        found = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        known = ", ".join(options.__dataclass_fields__)
        raise ConfigError(f"encoder.options: {found} (known options of {config.name}: {known})") from None


def check_encoder(config: EncoderConfig) -> None:
    """Raises ConfigError for options that no encoder can have together, without taking the memory of one."""
    encoder_options(config)
    try:
        _build_without_memory(config.name, json.dumps(config.options, sort_keys=True))
    except ConfigError as error:
        raise ConfigError(f"encoder.options: {error}") from None


@functools.lru_cache(maxsize=256)
def _build_without_memory(name: str, options: str) -> None:
    """Cached: the tasks of a search ask the same, and a deep encoder takes a second."""
    found = vars(encoder_options(EncoderConfig(name, json.loads(options))))
    with torch.device("meta"):
        resolve(ENCODERS, name, kind="encoder")(torch.zeros(1, 1), 1, **found)


def wanted_frame(config: EncoderConfig) -> SentenceFrame:
    """What an encoder wants around every sentence, by name."""
    frame: SentenceFrame = resolve(ENCODERS, config.name, kind="encoder").frame_of(encoder_options(config))
    return frame


def sentence_frames(config: RunConfig, words: Words) -> dict[str, Frame]:
    """What the run's encoder wants around every sentence of each task, as token ids.

    A task token is an id behind those of the vocabulary: of the row that the encoder's options name, or the first that
    is free, in the order of the run's tasks. Raises ConfigError where the vocabulary or the rows do not suffice.
    """
    wanted = wanted_frame(config.encoder)
    if not any(wanted):
        return {}
    rows = {}
    if TASK_TOKEN in (*wanted.before, *wanted.after):
        options = encoder_options(config.encoder)
        rows = task_rows(tuple(config.tasks), options.task_rows, num_rows=options.num_task_tokens)

    def ids(pieces: Sequence[str], task: str) -> tuple[int, ...]:
        return tuple(len(words) + rows[task] if piece == TASK_TOKEN else words.row(piece) for piece in pieces)

    return {task: Frame(ids(wanted.before, task), ids(wanted.after, task)) for task in config.tasks}


def task_rows(tasks: Sequence[str], named: Mapping[str, int], *, num_rows: int) -> dict[str, int]:
    """The row of each task's token: as named, else the first free one in the order of the tasks."""
    unknown = [task for task in named if task not in tasks]
    if unknown:
        raise ConfigError(f"encoder.options.task_rows.{unknown[0]}: the run has no such task, but {', '.join(tasks)}")
    free = iter(row for row in range(num_rows) if row not in named.values())
    rows = {task: named[task] if task in named else next(free, num_rows) for task in tasks}
    if max(rows.values()) >= num_rows or len(set(rows.values())) < len(rows):
        raise ConfigError(
            f"encoder.options.task_rows: {len(rows)} tasks need different rows below {num_rows}, found {rows}. Raise "
            "encoder.options.num_task_tokens, or name other rows"
        )
    return rows


def build_network(
    config: EncoderConfig,
    tasks: Mapping[str, Task[Any]],
    levels: Mapping[str, int],
    *,
    vectors: np.ndarray,
    feature_dim: int,
    seed: int,
    decoders: Mapping[str, str] | None = None,
) -> JointModel:
    """A freshly initialised network. vectors (words, width); levels: l(i) of each task.

    decoders: task → the name of its decoder, where it is not the task's own; those of one name are one. The same seed
    gives every task the same encoder and decoder, however many tasks there are and in whatever order: each part is
    drawn from its own stream. Raises ConfigError for tasks that cannot share a decoder.
    """
    options = encoder_options(config)
    torch.manual_seed(seed)
    encoder: Encoder = resolve(ENCODERS, config.name, kind="encoder")(
        torch.from_numpy(vectors), feature_dim, **vars(options)
    )
    uses = {name: (decoders or {}).get(name, name) for name in tasks}
    sharers: dict[str, list[Sharer]] = {}
    for name, task in tasks.items():
        torch.manual_seed(seed + 1)
        decoder = task.build_decoder(encoder, dropout=options.dropout)
        encoder.initialize(decoder)
        sharers.setdefault(uses[name], []).append(Sharer(task, decoder))
    return JointModel(encoder, {name: one_of(found, name) for name, found in sharers.items()}, levels, uses=uses)
