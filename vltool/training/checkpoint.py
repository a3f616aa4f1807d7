"""Checkpoints: a folder of safetensors and JSON, never a pickle, that is whole or not there.

cycle-000040/
  model.safetensors       the joint model's parameters and buffers by name
  optimizer.safetensors   Adam's state, "<number of the parameter>.<name>"
  run.json                everything needed to rebuild the model and to prove what trained it
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vltool.errors import CheckpointError
from vltool.splits.trained_ids import TrainedIds

FORMAT = 1
_FILES = ("model.safetensors", "run.json")
_FACTS = ("config", "plan", "trained_ids")


@dataclass(frozen=True)
class Checkpoint:
    """A saved state. run: as given to `save`, with "cycle" and "num_updates" among its keys."""

    path: Path
    run: dict[str, Any]

    @property
    def cycle(self) -> int:
        return int(self.run["cycle"])

    def trained_ids(self) -> TrainedIds:
        """The pictures that trained it. Raises CheckpointError unless it says so of every task that it has."""
        found = TrainedIds.from_json(self.run["trained_ids"])
        silent = [task["task"] for task in self.run["plan"] if not found.by_task.get(task["task"])]
        if silent:
            raise CheckpointError(
                f"{self.path}: does not say which pictures trained {silent[0]!r}, so nothing can be scored with it "
                "honestly. Take another checkpoint, or train again"
            )
        return found

    def tensors(self) -> dict[str, Tensor]:
        """The saved parameters and buffers by name."""
        return _read_tensors(self.path / "model.safetensors")

    def load_model(self, model: nn.Module) -> None:
        """Put the saved parameters into `model`. Raises CheckpointError naming what does not fit."""
        saved = self.tensors()
        expected = model.state_dict()
        for name, tensor in expected.items():
            if name not in saved:
                raise CheckpointError(f"{self.path}: no parameter {name!r}, which the model has")
            if saved[name].shape != tensor.shape:
                raise CheckpointError(
                    f"{self.path}: {name!r} is {tuple(saved[name].shape)}, the model expects {tuple(tensor.shape)}"
                )
        extra = sorted(set(saved) - set(expected))
        if extra:
            raise CheckpointError(f"{self.path}: holds {extra[0]!r} and {len(extra) - 1} more that the model has not")
        model.load_state_dict(saved)

    def load_optimizer(self, optimizer: torch.optim.Optimizer) -> None:
        """Put Adam's saved state back, bit for bit."""
        state: dict[int, dict[str, Tensor]] = {}
        for key, tensor in _read_tensors(self.path / "optimizer.safetensors").items():
            number, name = key.split(".", 1)
            state.setdefault(int(number), {})[name] = tensor
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def save(folder: Path, model: nn.Module, run: dict[str, Any], *, optimizer: torch.optim.Optimizer | None) -> None:
    """Write a checkpoint to `folder`, all of it or none: written beside, flushed, then renamed into place."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = folder.with_name(f".{folder.name}.writing")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    tensors = {name: tensor.detach().contiguous().cpu().clone() for name, tensor in model.state_dict().items()}
    save_file(tensors, draft / "model.safetensors")
    if optimizer is not None:
        state = optimizer.state_dict()["state"]
        flat = {f"{number}.{name}": value for number, values in state.items() for name, value in values.items()}
        save_file(
            {key: tensor.detach().contiguous().cpu().clone() for key, tensor in flat.items()},
            draft / "optimizer.safetensors",
        )
    (draft / "run.json").write_text(json.dumps({"format": FORMAT, **run}, indent=1), encoding="utf-8")
    for file in draft.iterdir():
        _flush(file)
    before = _before(folder)
    if folder.exists():  # a folder cannot be replaced at once: the old one stays beside until the new one is there
        shutil.rmtree(before, ignore_errors=True)
        os.replace(folder, before)
    os.replace(draft, folder)
    _flush(folder.parent)
    shutil.rmtree(before, ignore_errors=True)


def recover(folder: Path) -> None:
    """Put the checkpoint back that was there before a `save` that was killed between its two steps."""
    if not folder.exists() and _before(folder).exists():
        os.replace(_before(folder), folder)


def _before(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.before")


def load(folder: Path | str) -> Checkpoint:
    """The checkpoint in a folder. Raises CheckpointError if it is not one."""
    folder = Path(folder)
    missing = [name for name in _FILES if not (folder / name).is_file()]
    if missing:
        raise CheckpointError(
            f"{folder}: not a checkpoint ({' and '.join(missing)} not there). A training leaves its last one in "
            "<run>/<training>/checkpoint"
        )
    try:
        run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{folder / 'run.json'}: not JSON: {error}. Take another checkpoint") from error
    if not isinstance(run, dict) or "format" not in run:
        raise CheckpointError(f"{folder / 'run.json'}: not the description of a checkpoint. Take another checkpoint")
    if run["format"] != FORMAT:
        raise CheckpointError(f"{folder}: format {run['format']!r}, this version reads format {FORMAT}. Train again")
    lacking = [name for name in _FACTS if name not in run]
    if lacking:
        raise CheckpointError(f"{folder / 'run.json'}: has no {' and no '.join(lacking)}. Take another checkpoint")
    return Checkpoint(folder, run)


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be read: {error}. Take another checkpoint") from error


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
