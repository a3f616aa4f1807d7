"""Checkpoints: a folder of safetensors and JSON, never a pickle, that is whole or not there.

checkpoint/               the last one; checkpoint-00000340/ and so on: those before it, by number of updates, if kept
  model.safetensors       the joint model's parameters and buffers by name
  optimizer.safetensors   Adam's state, "<number of the parameter>.<name>"
  run.json                everything needed to rebuild the model and to prove what trained it
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vltool.errors import CheckpointError
from vltool.splits.trained_ids import TrainedIds
from vltool.training.saved_run import check_saved_run

FORMAT = 1
_FILES = ("model.safetensors", "run.json")
_FACTS = ("config", "plan", "trained_ids", "cycle", "num_updates")
AS_TRAINED = "Its model.safetensors and run.json must be of one training, and the encoder's options as they were then"
OTHER = "Take another checkpoint. A training goes on without a damaged one: remove that folder"


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
        try:
            found = TrainedIds.from_json(self.run["trained_ids"])
        except CheckpointError as error:
            raise CheckpointError(f"{self.path / 'run.json'}: {error}. {OTHER}") from error
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
        """Put the saved parameters into `model`. Raises CheckpointError naming what does not fit or is no number."""
        saved = self.tensors()
        expected = model.state_dict()
        for name, tensor in expected.items():
            if name not in saved:
                raise CheckpointError(f"{self.path}: no parameter {name!r}, which the model has. {AS_TRAINED}")
            if saved[name].shape != tensor.shape:
                raise CheckpointError(
                    f"{self.path}: {name!r} is {tuple(saved[name].shape)}, the model expects {tuple(tensor.shape)}. "
                    f"{AS_TRAINED}"
                )
            if not bool(torch.isfinite(saved[name]).all()):
                raise CheckpointError(
                    f"{self.path}: {name!r} holds what is no finite number: the training diverged, or the file is "
                    "damaged. Take another checkpoint, or train again with a lower learning rate"
                )
        extra = sorted(set(saved) - set(expected))
        if extra:
            raise CheckpointError(
                f"{self.path}: holds {extra[0]!r} and {len(extra) - 1} more that the model has not. {AS_TRAINED}"
            )
        model.load_state_dict(saved)

    def load_optimizer(self, optimizer: torch.optim.Optimizer) -> None:
        """Put Adam's saved state back, bit for bit."""
        state: dict[int, dict[str, Tensor]] = {}
        for key, tensor in _read_tensors(self.path / "optimizer.safetensors").items():
            number, name = key.split(".", 1)
            state.setdefault(int(number), {})[name] = tensor
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def save(
    folder: Path,
    model: nn.Module,
    run: dict[str, Any],
    *,
    optimizer: torch.optim.Optimizer | None,
    keep_last: int = 1,
) -> None:
    """Write a checkpoint to `folder`, all of it or none: written beside, flushed, then renamed into place.

    keep_last: of how many checkpoints in all; those before this one stay beside it, named by their updates. Raises
    CheckpointError where it cannot be written (a full disk); the one before it is kept.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = folder.with_name(f".{folder.name}.writing")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    _write_tensors(draft / "model.safetensors", model.state_dict())
    if optimizer is not None:
        state = optimizer.state_dict()["state"]
        flat = {f"{number}.{name}": value for number, values in state.items() for name, value in values.items()}
        _write_tensors(draft / "optimizer.safetensors", flat)
    (draft / "run.json").write_text(json.dumps({"format": FORMAT, **run}, indent=1), encoding="utf-8")
    for file in draft.iterdir():
        _flush(file)
    recover(folder)
    before = _before(folder)
    if folder.exists():  # a folder cannot be replaced at once: the old one stays beside until the new one is there
        os.replace(folder, before)
    os.replace(draft, folder)
    _flush(folder.parent)
    _put_aside(folder, num_updates=int(run.get("num_updates", 0)), keep=keep_last - 1)


def recover(folder: Path) -> None:
    """Finish what a `save` left that was killed between its steps: the checkpoint before it is not lost.

    Where the last checkpoint has been removed, the one before it that was kept takes its place.
    """
    before = _before(folder)
    if before.exists() and not folder.exists():
        os.replace(before, folder)
    shutil.rmtree(before, ignore_errors=True)
    if not folder.exists() and (kept := kept_before(folder)):
        os.replace(kept[-1], folder)


def kept_before(folder: Path) -> list[Path]:
    """The checkpoints that were saved before the one in `folder` and kept, the oldest first."""
    return sorted(
        path for path in folder.parent.glob(f"{folder.name}-*") if path.name[len(folder.name) + 1 :].isdigit()
    )


def _put_aside(folder: Path, *, num_updates: int, keep: int) -> None:
    """Name the checkpoint before this one by its updates, and remove those that are too many, or of a later update.

    Later ones are there when a training goes on from an earlier checkpoint: they will come again.
    """
    before = _before(folder)
    if before.exists() and keep > 0:
        place = folder.with_name(f"{folder.name}-{int(load(before).run['num_updates']):08}")
        _remove(place)
        os.replace(before, place)
    shutil.rmtree(before, ignore_errors=True)
    earlier = [path for path in kept_before(folder) if int(path.name.rpartition("-")[2]) < num_updates]
    for path in kept_before(folder):
        if path not in earlier[max(0, len(earlier) - keep) :]:
            _remove(path)


def _remove(folder: Path) -> None:
    """Remove a checkpoint; a kill half-way leaves none that looks whole."""
    leaving = folder.with_name(f".{folder.name}.leaving")
    shutil.rmtree(leaving, ignore_errors=True)
    if folder.exists():
        os.replace(folder, leaving)
        shutil.rmtree(leaving)


def _before(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.before")


def load(folder: Path | str) -> Checkpoint:
    """The checkpoint in a folder. Raises CheckpointError if it is not one."""
    folder = Path(folder)
    missing = [name for name in _FILES if not (folder / name).is_file()]
    if missing:
        raise CheckpointError(
            f"{folder}: not a checkpoint ({' and '.join(missing)} not there). A training leaves its last one in "
            "<run>/<training>/checkpoint, and goes on without a damaged one: remove that folder"
        )
    try:
        run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{folder / 'run.json'}: not JSON: {error}. {OTHER}") from error
    if not isinstance(run, dict) or "format" not in run:
        raise CheckpointError(f"{folder / 'run.json'}: not the description of a checkpoint. {OTHER}")
    if run["format"] != FORMAT:
        raise CheckpointError(f"{folder}: format {run['format']!r}, this version reads format {FORMAT}. Train again")
    lacking = [name for name in _FACTS if name not in run]
    if lacking:
        raise CheckpointError(f"{folder / 'run.json'}: has no {' and no '.join(lacking)}. {OTHER}")
    check_saved_run(run, folder / "run.json", next_step=OTHER)
    return Checkpoint(folder, run)


def _write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    path.touch()
    mode = path.stat().st_mode  # as the umask has it; safetensors lets its owner alone read what it writes
    try:
        save_file({name: tensor.detach().contiguous().cpu().clone() for name, tensor in tensors.items()}, path)
    except SafetensorError as error:  # which is how it tells of a full disk
        shutil.rmtree(path.parent, ignore_errors=True)
        raise CheckpointError(
            f"{path}: cannot be written: {error}. Make room and run the same command again; the checkpoint before "
            "this one is kept"
        ) from error
    path.chmod(mode)


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be read: {error}. {OTHER}") from error


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
