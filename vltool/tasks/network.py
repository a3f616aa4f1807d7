"""The network of a run, put together from its parts: encoder by name, one decoder per task at its level."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from pydantic import ConfigDict, TypeAdapter, ValidationError

from vltool.config import EncoderConfig
from vltool.errors import ConfigError
from vltool.models.encoder import Encoder
from vltool.models.joint_model import JointModel
from vltool.registry import ENCODERS, resolve
from vltool.tasks.task import Task


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


def build_network(
    config: EncoderConfig,
    tasks: Mapping[str, Task[Any]],
    levels: Mapping[str, int],
    *,
    vectors: np.ndarray,
    feature_dim: int,
    seed: int,
) -> JointModel:
    """A freshly initialised network. vectors (words, width); levels: l(i) of each task.

    The same seed gives every task the same encoder, however many tasks there are and in whatever order: each
    part is drawn from its own stream.
    """
    options = encoder_options(config)
    torch.manual_seed(seed)
    encoder: Encoder = resolve(ENCODERS, config.name, kind="encoder")(
        torch.from_numpy(vectors), feature_dim, **vars(options)
    )
    decoders = {}
    for name, task in tasks.items():
        torch.manual_seed(seed + 1)
        decoders[name] = task.build_decoder(encoder, dropout=options.dropout)
        encoder.initialize(decoders[name])
    return JointModel(encoder, decoders, levels)
