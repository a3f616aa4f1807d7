"""The attention figures of a run: opens its data and models, and has examples of every task picked and looked at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import vltool.report.task_exhibits  # noqa: F401 - registers what each kind of task shows
from vltool.errors import DataError, SplitError, VltoolError
from vltool.report.attention import Exhibit, Looker, candidates, pick
from vltool.report.confusions import Left, confusions
from vltool.report.differences import BEST_MODELS
from vltool.report.run_files import RunFiles
from vltool.report.side_by_side import Decoders, side_by_side
from vltool.report.table import Table
from vltool.structures import ImageId
from vltool.tasks.grounding import VisualGrounding
from vltool.training import checkpoint
from vltool.training.inputs import load_inputs
from vltool.training.run import RunInputs
from vltool.training.scoring import load_network, refuse_contaminated

MIN_FIGURES = 6
MIN_PER_TASK = 3
NUM_SIDE_BY_SIDE = 4


@dataclass(frozen=True)
class Gallery:
    """Figures of every task, by which model they were seen, and what could not be shown or is not clean.

    side_by_side: one question, every decoder. confusions: of the scored model, and its notes apart.
    """

    side_by_side: list[Exhibit] = field(default_factory=list)
    exhibits: list[Exhibit] = field(default_factory=list)
    confusions: list[Table] = field(default_factory=list)
    seen_by: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    confusion_notes: list[str] = field(default_factory=list)


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
    _add_side_by_side(gallery, files, inputs, used, say or (lambda text: None))
    for task in files.task_names:
        try:
            _add_task(gallery, files, inputs, task, count, used, say or (lambda text: None))
        except VltoolError as error:
            gallery.notes.append(f"{task}: {error}")
        _add_confusions(gallery, files, inputs, task)
    return gallery


def _add_side_by_side(
    gallery: Gallery, files: RunFiles, inputs: RunInputs, used: set[ImageId], say: Callable[[str], None]
) -> None:
    """Of the model of the most tasks among which one answers questions."""
    for task in files.task_names:
        found, splits = files.best_model(task), inputs.prepared.examples[task]
        if found is None or found[1].plan is None:
            continue
        own = [inputs.prepared.tasks[item.task] for item in found[1].plan.tasks if item.task in inputs.prepared.tasks]
        grounded = [
            example
            for name, kind in inputs.prepared.tasks.items()
            if isinstance(kind, VisualGrounding)
            for example in inputs.prepared.examples[name]["train"]
        ]
        decoders = Decoders.of(own, grounded)
        if decoders is None or decoders.answering.name != task:
            continue
        try:
            say(f"looking through every decoder of the {found[0]} model at {task}")
            looker = _looker(inputs, found[1].folder / "checkpoint")
            offered = side_by_side(decoders, looker, splits["test"] or splits["val"])
            gallery.side_by_side.extend(pick(offered, NUM_SIDE_BY_SIDE, used))
        except VltoolError as error:
            gallery.notes.append(f"{task}: {error}")


def _add_confusions(gallery: Gallery, files: RunFiles, inputs: RunInputs, task: str) -> None:
    model = next((m for m in BEST_MODELS if task in files.evaluations.get((m, "test"), {}).get("tasks", {})), None)
    if model is None:
        return
    left = Left(inputs.prepared.examples[task]["test"], files.config.out_dir / "eval", f"{model}-test-{task}")
    try:
        gallery.confusions.extend(confusions(inputs.prepared.tasks[task], left))
    except DataError as error:
        gallery.confusion_notes.append(f"{task}: {error}")


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
