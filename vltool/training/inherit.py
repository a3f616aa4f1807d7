"""Starting a training from the weights of another: what fits is taken, and what trained those weights is remembered."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import torch

from vltool.errors import CheckpointError, SplitError
from vltool.models.joint_model import JointModel
from vltool.splits.trained_ids import TrainedIds
from vltool.tasks.prepare import image_ids_of
from vltool.training import checkpoint

if TYPE_CHECKING:
    from vltool.training.inputs import RunInputs

_OF_WORDS = ("word_vectors", "word_bias")
"""Parts of the names of tensors with a row for each word of the vocabulary."""


def inherited_ids(inputs: RunInputs) -> TrainedIds:
    """The pictures that trained the checkpoint of `training.init_from`, and those before it; none without one."""
    origin = inputs.config.training.init_from
    return checkpoint.load(origin).trained_ids() if origin else TrainedIds({})


def inherit_weights(inputs: RunInputs, model: JointModel) -> tuple[int, list[str]]:
    """Put the tensors of `training.init_from` that fit into `model`: how many did, and the names left as they were.

    A tensor fits if its name and shape are the same. Where the vocabulary differs, what has a row for each word stays
    the run's own, and so do word vectors that are not trained; where a task's answer pool differs, its decoder does.
    Raises CheckpointError if nothing fits, or the weights were trained on features of another detector; SplitError if
    they were trained on pictures that this run evaluates (protocol off: allowed).
    """
    saved = checkpoint.load(inputs.config.training.init_from)
    _refuse_inherited(inputs)
    theirs, ours = saved.run.get("store_header", {}).get("fingerprint"), inputs.store.header.get("fingerprint")
    if theirs != ours:
        raise CheckpointError(
            f"{saved.path}: was trained on features of another detector ({theirs}, here {ours}). Train from scratch, "
            "or extract the features with that detector"
        )
    pools = {name: pool.to_json()["answers"] for name, pool in inputs.corpus.answers.items()}
    known = {name: pool["answers"] for name, pool in saved.run.get("answers", {}).items()}
    changed = [f"decoders.{name}." for name in known if name in pools and known[name] != pools[name]]
    same_words = saved.run.get("words") == json.loads(json.dumps(inputs.corpus.words.to_json()))
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    state, found = model.state_dict(), saved.tensors()
    fitting = {
        name: found[name]
        for name, tensor in state.items()
        if name in found
        and found[name].shape == tensor.shape
        and (not any(part in name for part in _OF_WORDS) or (same_words and name in trained))
        and not name.startswith(tuple(changed))
    }
    if not fitting:
        raise CheckpointError(f"{saved.path}: none of its tensors fits this network. Train from scratch")
    with torch.no_grad():
        for name, tensor in fitting.items():
            state[name].copy_(tensor)
    return len(fitting), [name for name in state if name not in fitting]


def _refuse_inherited(inputs: RunInputs) -> None:
    if inputs.config.splits.protocol == "off":
        return
    inherited = inherited_ids(inputs)
    for name, splits in inputs.prepared.examples.items():
        for split in ("val", "test"):
            met = inherited.meets(image_ids_of(splits[split]))
            if met:
                raise SplitError(
                    f"training.init_from: {inputs.config.training.init_from} was trained on {len(met)} pictures of "
                    f"{name}/{split}, first {', '.join(met[:3])}. Start from a checkpoint that was not, or from scratch"
                )
