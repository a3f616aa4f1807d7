"""A new network's first weights from a checkpoint: BERT's for the text stream, or the authors' for all of it.

Layouts, by the names in the file:
  bert.encoder.layer.0.attention.self.query.weight    Hugging Face's BERT with a head (.bin or .safetensors)
  encoder.layer.0.attention.self.query.weight         the same without a head
  bert.embeddings.LayerNorm.gamma                     older files: gamma and beta for weight and bias
  bert.encoder.c_layer.0.biattention.query1.weight    the authors', with bert.encoder.v_layer., poolers and heads
`module.` in front, and a {"model_state_dict": …} around them, are what a trainer leaves and are taken off.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vltool.errors import CheckpointError
from vltool.models.encoder import Encoder
from vltool.models.vilbert.names import UNUSED, Names, encoder_names, with_parameters
from vltool.weights_file import read_content

WRAPPERS = ("model_state_dict", "state_dict", "model")
SPELLINGS = {"gamma": "weight", "beta": "bias"}
OF_THE_IMAGE = ("bert.v_embeddings.", "bert.encoder.v_layer.", "bert.encoder.c_layer.")
OF_THE_TRUNK = ("bert.embeddings.", "bert.encoder.", *OF_THE_IMAGE)
MAY_BE_MISSING = ("bert.embeddings.task_embeddings.", "bert.t_pooler.", "bert.v_pooler.")
"""What a file that was never trained on tasks does not have."""
_MOST_NAMED = 40


@dataclass(frozen=True)
class Taken:
    """What became of a file: names of ours that were set or left as drawn, names of the file that nothing took."""

    path: Path
    set: tuple[str, ...]
    drawn: tuple[str, ...]
    unused: tuple[str, ...]

    def __str__(self) -> str:
        drawn, unused = (_summary(names, depth) for names, depth in ((self.drawn, 3), (self.unused, 2)))
        return (
            f"{self.path}: {len(self.set)} tensors taken"
            + (f"; drawn anew: {drawn}" if drawn else "")
            + (f"; of the file not used: {unused}" if unused else "")
        )


def take_weights(encoder: Encoder, path: str | Path, decoders: Mapping[str, nn.Module]) -> Taken:
    """Put a checkpoint's tensors into a new ViLBERT, and into those parts of decoders that say what they are there.

    A decoder's part names its own in `checkpoint_names` (our linear map → the file's). Raises CheckpointError naming
    every tensor of the streams and connections that is missing, left over or of another shape, with both shapes.
    """
    path = Path(path)
    tensors = plain_names(read_content(path, next_step="name a local file in encoder.options.init_from"), path)
    is_whole = any(name.startswith(OF_THE_IMAGE) for name in tensors)
    ours: dict[str, nn.Parameter] = {f"encoder.{name}": value for name, value in encoder.named_parameters()}
    names: Names = {f"encoder.{name}": theirs for name, theirs in encoder_names(encoder).items()}
    required = {name for name, theirs in names.items() if _is_required(theirs[0], is_whole=is_whole)}
    for task, decoder in decoders.items():
        for place, part in decoder.named_modules():
            start = ".".join(filter(None, ("decoders", task, place)))
            maps = {at: (theirs,) for at, theirs in getattr(part, "checkpoint_names", {}).items()}
            names |= {f"{start}.{name}": theirs for name, theirs in with_parameters(part, maps).items()}
            ours |= {f"{start}.{name}": value for name, value in part.named_parameters()}
    problems, found = [], {}
    for name, theirs in names.items():
        if all(other in tensors for other in theirs):
            found[name] = torch.cat([tensors[other] for other in theirs]) if len(theirs) > 1 else tensors[theirs[0]]
            if found[name].shape != ours[name].shape:
                expected = tuple(ours[name].shape)
                problems.append(f"{theirs[0]} is {tuple(found[name].shape)}, {name} {expected}")
        elif name in required:
            problems.append(f"{', '.join(other for other in theirs if other not in tensors)} is missing ({name})")
    used = {other for name in found for other in names[name]}
    unused = [name for name in tensors if name not in used and not any(part in name for part in UNUSED)]
    problems += [
        f"{name} {tuple(tensors[name].shape)} has no place here"
        for name in unused
        if name.startswith(OF_THE_TRUNK) and not name.startswith(MAY_BE_MISSING)
    ]
    if problems:
        more = f"; and {len(problems) - _MOST_NAMED} more" if len(problems) > _MOST_NAMED else ""
        raise CheckpointError(
            f"{path} does not fit the encoder: {'; '.join(problems[:_MOST_NAMED])}{more}. Set encoder.options to the "
            "checkpoint's sizes, and text.wordpiece_vocab to its vocabulary"
        )
    with torch.no_grad():
        for name, value in found.items():
            ours[name].copy_(value)
    drawn = tuple(name for name in ours if name not in found)
    return Taken(path, tuple(found), drawn, tuple(unused))


def plain_names(content: Any, path: Path) -> dict[str, Tensor]:
    """A file's tensors under the authors' names, however it spells them. Raises CheckpointError."""
    for wrapper in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(f"{path}: expected names and tensors, found {type(content).__name__}")
    tensors = {}
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise CheckpointError(f"{path}: {name!r:.80} is a {type(value).__name__}, expected a name and a tensor")
        if name.endswith(".position_ids"):  # counted from 0 by those who keep them
            continue
        head, _, kind = name.removeprefix("module.").rpartition(".")
        name = f"{head}.{SPELLINGS.get(kind, kind)}"
        tensors[f"bert.{name}" if name.startswith(("embeddings.", "encoder.", "pooler.")) else name] = value
    if not any(name.startswith(OF_THE_TRUNK) for name in tensors):
        raise CheckpointError(
            f"{path}: no parameter of BERT or ViLBERT in it, but {', '.join(sorted(tensors)[:3])}: another model?"
        )
    return tensors


def _is_required(theirs: str, *, is_whole: bool) -> bool:
    return not theirs.startswith(MAY_BE_MISSING) and (is_whole or not theirs.startswith(OF_THE_IMAGE))


def _summary(names: Iterable[str], depth: int) -> str:
    """The beginnings of names, each once."""
    return ", ".join(dict.fromkeys(".".join(name.split(".")[:depth]) for name in names))
