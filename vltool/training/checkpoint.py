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
OTHER = "Take another checkpoint"
GO_ON = f"{OTHER}. A training goes on without a damaged one: remove that folder"
PLACE = "<out>/training/joint/checkpoint"


@dataclass(frozen=True)
class Checkpoint:
    """A saved state. run: as given to `save`, with "cycle" and "num_updates" among its keys.

    next_step: what errors advise where a file of it is damaged.
    """

    path: Path
    run: dict[str, Any]
    next_step: str = OTHER

    @property
    def cycle(self) -> int:
        return int(self.run["cycle"])

    def trained_ids(self) -> TrainedIds:
        """The pictures that trained it. Raises CheckpointError unless it says so of every task that it has."""
        try:
            found = TrainedIds.from_json(self.run["trained_ids"])
        except CheckpointError as error:
            raise CheckpointError(f"{self.path / 'run.json'}: {error}. {self.next_step}") from error
        silent = [task["task"] for task in self.run["plan"] if not found.by_task.get(task["task"])]
        if silent:
            raise CheckpointError(
                f"{self.path}: does not say which pictures trained {silent[0]!r}, so nothing can be scored with it "
                "honestly. Take another checkpoint, or train again"
            )
        return found

    def tensors(self) -> dict[str, Tensor]:
        """The saved parameters and buffers by name."""
        return _read_tensors(self.path / "model.safetensors", next_step=self.next_step)

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
        for key, tensor in _read_tensors(self.path / "optimizer.safetensors", next_step=self.next_step).items():
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
        place = folder.with_name(f"{folder.name}-{int(load(before, resuming=True).run['num_updates']):08}")
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


def load(folder: Path | str, *, resuming: bool = False) -> Checkpoint:
    """The checkpoint in a folder. resuming: it is the training's own, which goes on without it where it is damaged.

    Raises CheckpointError if it is not one; where the folder is above checkpoints, as that of a run, it names them.
    """
    if not isinstance(folder, str | os.PathLike) or not str(folder):
        raise CheckpointError(f"{folder!r}: expected the folder of a checkpoint, such as {PLACE}")
    folder = Path(folder)
    next_step = GO_ON if resuming else OTHER
    missing = [name for name in _FILES if not (folder / name).is_file()]
    if missing:
        raise CheckpointError(_what_is_there(folder, missing, next_step))
    try:
        run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{folder / 'run.json'}: not JSON: {error}. {next_step}") from error
    if not isinstance(run, dict) or "format" not in run:
        raise CheckpointError(f"{folder / 'run.json'}: not the description of a checkpoint. {next_step}")
    if run["format"] != FORMAT:
        raise CheckpointError(f"{folder}: format {run['format']!r}, this version reads format {FORMAT}. Train again")
    lacking = [name for name in _FACTS if name not in run]
    if lacking:
        raise CheckpointError(f"{folder / 'run.json'}: has no {' and no '.join(lacking)}. {next_step}")
    check_saved_run(run, folder / "run.json", next_step=next_step)
    return Checkpoint(folder, run, next_step)


def _what_is_there(folder: Path, missing: list[str], next_step: str) -> str:
    """What is in the place of a checkpoint, and what to name instead."""
    if not folder.exists():
        return f"{folder}: no such folder. A training leaves its last checkpoint in {PLACE}"
    if not folder.is_dir():
        return f"{folder}: a file; a checkpoint is a folder. A training leaves its last one in {PLACE}"
    wrong = f"{folder}: not a checkpoint ({' and '.join(missing)} not there)"
    if len(missing) < len(_FILES) or next_step == GO_ON:
        return f"{wrong}. {next_step}"
    if below := _checkpoints_below(folder):
        more = f", and {len(below) - 3} more" if len(below) > 3 else ""
        return f"{wrong}. Name one of those below it: {', '.join(map(str, below[:3]))}{more}"
    return f"{wrong}, nor is there one below it. A training leaves its last one in {PLACE}"


def _checkpoints_below(folder: Path) -> list[Path]:
    """The checkpoints of a run or of a training, the joint training's first; up to four folders down, as trials are."""
    places = ("", "*/", "*/*/", "*/*/*/")
    found = [file.parent for place in places for file in folder.glob(f"{place}checkpoint*/{_FILES[1]}")]
    whole = [path for path in found if (path / _FILES[0]).is_file()]
    return sorted(whole, key=lambda path: (path.parent.name != "joint", path.name != "checkpoint", path))


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


def _read_tensors(path: Path, *, next_step: str) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be read: {error}. {next_step}") from error


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
