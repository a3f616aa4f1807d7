"""Starting a training from the weights of another: what fits is taken, and what trained those weights is remembered."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

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

    A tensor fits if its name and shape are the same; a decoder is that of the same task, however it is named and shared
    in either, or else the one of the same name. Where the vocabulary differs, what has a row for each word stays the
    run's own, and so do word vectors that are not trained; where an answer pool differs, its decoder does.
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
    pools = {name: list(pool.answers) for name, pool in inputs.corpus.answers.items()}
    known = {name: pool["answers"] for name, pool in saved.run.get("answers", {}).items()}
    renamed = {}
    for ours, (own, their) in _sources(model.uses, saved.run).items():
        changed = pools.get(own) != known.get(their)
        renamed[f"decoders.{ours}."] = "" if changed else f"decoders.{_decoders(saved.run)[their]}."
    same_words = saved.run.get("words") == json.loads(json.dumps(inputs.corpus.words.to_json()))
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    state, found = model.state_dict(), saved.tensors()
    there = {name: _name_there(name, renamed) for name in state}
    fitting = {
        name: found[there[name]]
        for name, tensor in state.items()
        if there[name] in found
        and found[there[name]].shape == tensor.shape
        and (not any(part in name for part in _OF_WORDS) or (same_words and name in trained))
    }
    if not fitting:
        raise CheckpointError(f"{saved.path}: none of its tensors fits this network. Train from scratch")
    with torch.no_grad():
        for name, tensor in fitting.items():
            state[name].copy_(tensor)
    return len(fitting), [name for name in state if name not in fitting]


def _decoders(run: Mapping[str, Any]) -> dict[str, str]:
    """task → the name of its decoder, of the tasks of a checkpoint."""
    tasks = run["config"]["tasks"]
    return {plan["task"]: tasks[plan["task"]].get("decoder") or plan["task"] for plan in run["plan"]}


def _sources(uses: Mapping[str, str], run: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """decoder → a task of ours that uses it, and the task of the checkpoint whose decoder it takes.

    uses: task → its decoder, of ours. A decoder that finds neither its tasks nor its name there is left out.
    """
    theirs = _decoders(run)
    found: dict[str, tuple[str, str]] = {}
    for task, decoder in uses.items():
        if task in theirs:
            found.setdefault(decoder, (task, task))
    for task, decoder in uses.items():
        if decoder not in found and decoder in theirs.values():
            found[decoder] = task, next(their for their, name in theirs.items() if name == decoder)
    return found


def _name_there(name: str, renamed: Mapping[str, str]) -> str:
    """The name of one of our tensors in the checkpoint; empty where it is not to be taken."""
    for ours, theirs in renamed.items():
        if name.startswith(ours):
            return theirs and theirs + name.removeprefix(ours)
    return "" if name.startswith("decoders.") else name


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
