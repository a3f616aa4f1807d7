"""The attention figures of a run: opens its data and models, and has examples of every task picked and looked at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import vltool.report.task_exhibits  # noqa: F401 - registers what each kind of task shows
from vltool.errors import SplitError, VltoolError
from vltool.report.attention import Exhibit, Looker, candidates, pick
from vltool.report.run_files import RunFiles
from vltool.structures import ImageId
from vltool.training import checkpoint
from vltool.training.inputs import load_inputs
from vltool.training.run import RunInputs
from vltool.training.scoring import load_network, refuse_contaminated

MIN_FIGURES = 6
MIN_PER_TASK = 3


@dataclass(frozen=True)
class Gallery:
    """Figures of every task, by which model they were seen, and what could not be shown or is not clean."""

    exhibits: list[Exhibit] = field(default_factory=list)
    seen_by: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def build_gallery(files: RunFiles, *, say: Callable[[str], None] | None = None) -> Gallery:
    """At least six figures where the run has a trained model and pictures; elsewhere notes that say what is missing.

    Examples are of the test split, or of the validation split where a task has no other.
    """
    if all(files.best_model(task) is None for task in files.task_names):
        return Gallery(notes=["There is nothing to look through yet: no training has left a checkpoint."])
    try:
        inputs = load_inputs(files.config)
    except VltoolError as error:
        return Gallery(notes=[f"The run's data cannot be opened: {error}"])
    gallery, used = Gallery(), set[ImageId]()
    count = max(MIN_PER_TASK, -(-MIN_FIGURES // len(files.task_names)))
    for task in files.task_names:
        try:
            _add_task(gallery, files, inputs, task, count, used, say or (lambda text: None))
        except VltoolError as error:
            gallery.notes.append(f"{task}: {error}")
    return gallery


def _add_task(
    gallery: Gallery,
    files: RunFiles,
    inputs: RunInputs,
    task: str,
    count: int,
    used: set[ImageId],
    say: Callable[[str], None],
) -> None:
    found = files.best_model(task)
    if found is None:
        gallery.notes.append(f"{task}: no training has left a checkpoint.")
        return
    name, training = found
    splits = inputs.prepared.examples[task]
    split = "test" if splits["test"] else "val"
    say(f"looking through the {name} model at {task}")
    looker = _looker(inputs, training.folder / "checkpoint")
    _note_contamination(gallery, inputs, training.folder / "checkpoint", task, split)
    exhibits = pick(candidates(inputs.prepared.tasks[task], looker, splits[split]), count, used)
    gallery.exhibits.extend(exhibits)
    if exhibits:
        gallery.seen_by.append(f"{task}, {split} split, by the {name} model at level {looker.model.level(task)}")
    else:
        gallery.notes.append(f"{task}: there is no attention to show.")


def _looker(inputs: RunInputs, folder: Path) -> Looker:
    model = load_network(inputs, checkpoint.load(folder))
    names = [tuple(inputs.store.header.get(key) or ()) for key in ("class_names", "attribute_names")]
    return Looker(model, inputs.batching(), next(model.parameters()).device, *names)


def _note_contamination(gallery: Gallery, inputs: RunInputs, folder: Path, task: str, split: str) -> None:
    try:
        refuse_contaminated(inputs, checkpoint.load(folder), [task], split)
    except SplitError as error:
        gallery.notes.append(f"Not clean: {error}")
