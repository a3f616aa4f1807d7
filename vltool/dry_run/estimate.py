"""What the stages of a run will take: measured steps times how many there are."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vltool.config import RunConfig
from vltool.dry_run.findings import Findings
from vltool.dry_run.memory import machine_bytes
from vltool.dry_run.plans import Plans
from vltool.dry_run.rehearsal import BYTES_OF_TRAINED, PictureCost, UpdateCost
from vltool.engines.local import num_cores
from vltool.evaluation.pair_scores import NUM_EXACT
from vltool.registry import TASKS, resolve
from vltool.splits.protocol import training_of
from vltool.structures import TaskPlan
from vltool.tasks.prepare import PreparedTasks
from vltool.training.schedule import JointPlan
from vltool.training.timing import readable

BYTES_PER_REGION = 60  # box, class, attribute and their scores
BYTES_PER_PICTURE = 4096 + 300  # half a page of the database each way, and what is known of the file
BYTES_PER_SENTENCE = 160
NUM_WORDS = 40_000  # of the vocabulary, where the words have not been counted
BYTES_SAVED = 12  # of each parameter: itself and Adam's two


@dataclass(frozen=True)
class StageEstimate:
    """None: not known. memory_bytes: of the process and, of several at once, of all of them."""

    stage: str
    seconds: float | None
    disk_bytes: int | None
    memory_bytes: int | None
    reckoned: str


@dataclass(frozen=True)
class Steps:
    """What was measured and counted. sizes: (task, split) → (examples, pictures) where known."""

    updates: Mapping[TaskPlan, UpdateCost]
    picture: PictureCost | None
    regions: float
    feature_dim: int
    vector_width: int
    sizes: Mapping[tuple[str, str], tuple[int, int]]
    num_new_pictures: int | None
    num_sentences: int | None
    seconds_per_sentence: float
    seconds_reading: float
    vector_bytes: int
    held_bytes: int


def estimate_stages(
    config: RunConfig, plans: Plans, steps: Steps, *, done: Collection[str] = ()
) -> list[StageEstimate]:
    """An estimate for every stage that takes more than moments. done: stages that are up to date."""
    rules: dict[str, Callable[[], StageEstimate]] = {
        "extract-features": lambda: _extraction(config, steps),
        "embed-text": lambda: _text(steps),
        "eval": lambda: _evaluation(config, plans, steps),
    }
    for stage in plans.trainings:
        rules[stage] = lambda stage=stage: _trainings(config, stage, plans.trainings[stage], steps)  # type: ignore[misc]
    return [
        StageEstimate(stage, 0.0, 0, 0, "up to date") if stage in done else rules[stage]()
        for stage in config.stages
        if stage in rules
    ]


def examine_room(config: RunConfig, estimates: Sequence[StageEstimate], findings: Findings) -> int:
    """Refuses a run for which disk or memory is too small. Gives the bytes that are free where it writes."""
    needed: dict[Path, int] = {}
    for estimate in estimates:
        where = config.features.store if estimate.stage == "extract-features" else config.out
        place = _existing(Path(where).absolute())
        needed[place] = needed.get(place, 0) + (estimate.disk_bytes or 0)
    by_device: dict[int, tuple[Path, int]] = {}
    for place, size in needed.items():
        first, before = by_device.get(place.stat().st_dev, (place, 0))
        by_device[place.stat().st_dev] = (first, before + size)
    for place in needed:
        if not os.access(place, os.W_OK):
            findings.refuse("all", place, "cannot be written to", "Name another place: --set out=…, features.store=…")
    for place, size in by_device.values():
        free = shutil.disk_usage(place).free
        if size > free:
            wrong = f"the run needs about {size / 1e9:.1f} GB of disk, {free / 1e9:.1f} GB are free"
            findings.refuse(
                "all", place, wrong, "Make room, or name a place on another disk: --set out=…, features.store=…"
            )
    machine = machine_bytes()
    for estimate in estimates:
        if machine and (estimate.memory_bytes or 0) > machine:
            needed_gb = (estimate.memory_bytes or 0) / 1e9
            wrong = f"needs about {needed_gb:.1f} GB of memory, the machine has {machine / 1e9:.1f}"
            todo = "Lower batch sizes, or how many run at once (search.jobs, combinations.jobs)"
            findings.refuse(estimate.stage, "memory", wrong, todo)
    return shutil.disk_usage(_existing(config.out_dir.absolute())).free


def _existing(path: Path) -> Path:
    return next(part for part in (path, *path.parents) if part.exists())


def _extraction(config: RunConfig, steps: Steps) -> StageEstimate:
    count = steps.num_new_pictures
    regions = steps.picture.regions if steps.picture else steps.regions
    width = 2 if config.features.dtype == "float16" else 4
    size = regions * (steps.feature_dim * width + BYTES_PER_REGION) + BYTES_PER_PICTURE
    if count == 0:
        return StageEstimate("extract-features", 0.0, 0, 0, "every picture is stored")
    if count is None or steps.picture is None:
        disk = None if count is None else int(count * size)
        return StageEstimate("extract-features", None, disk, None, f"{regions:.0f} regions a picture; none was timed")
    timed = f"{steps.picture.seconds:.2f} s and {regions:.0f} regions each ({steps.picture.num_pictures} timed)"
    return StageEstimate(
        "extract-features",
        count * steps.picture.seconds,
        int(count * size),
        steps.picture.memory_bytes,
        f"{count:,} pictures, {timed}",
    )


def _text(steps: Steps) -> StageEstimate:
    if steps.num_sentences is None:
        return StageEstimate("embed-text", None, None, None, "its files are not there")
    scanning = steps.vector_bytes / 500e6  # read twice, for its digest and for its words
    seconds = steps.seconds_reading + steps.num_sentences * steps.seconds_per_sentence + scanning
    disk = steps.num_sentences * BYTES_PER_SENTENCE + NUM_WORDS * steps.vector_width * 4
    each = 1e6 * steps.seconds_per_sentence
    reckoned = f"{steps.num_sentences:,} sentences, {each:.0f} µs each; files read in {steps.seconds_reading:.0f} s"
    return StageEstimate("embed-text", seconds, disk, steps.held_bytes, reckoned)


def _trainings(config: RunConfig, stage: str, trainings: Sequence[JointPlan], steps: Steps) -> StageEstimate:
    if any(plan not in steps.updates for joint in trainings for plan in joint.tasks):
        return StageEstimate(stage, None, None, None, "no update could be timed")
    updates = scoring = 0.0
    saved, memory = [], []
    for joint in trainings:
        costs = [steps.updates[plan] for plan in joint.tasks]
        updates += sum(cost.seconds * cost.plan.num_updates for cost in costs)
        times = 1 + (joint.num_cycles // config.training.evaluate_every if config.training.evaluate_every else 0)
        scoring += times * sum(_scoring(config, cost, "val", steps) for cost in costs)
        parameters = _parameters(costs, config.decoders)
        kept = config.training.keep_last + bool(config.training.evaluate_every)  # and the best on validation
        saved.append(kept * (BYTES_SAVED * parameters + NUM_WORDS * steps.vector_width * 4))
        memory.append(steps.held_bytes + (4 + BYTES_OF_TRAINED) * parameters + max(c.memory_bytes for c in costs))
    jobs = {"search-layers": config.search.jobs, "train-combinations": config.combinations.jobs}.get(stage, 1)
    at_once = min(jobs or num_cores(), len(trainings))
    num_updates = sum(joint.num_updates for joint in trainings)
    reckoned = (
        f"{len(trainings)} training(s), {num_updates:,} updates: {readable(updates)}; scoring: {readable(scoring)}"
    )
    disk = sum(saved) + at_once * max(saved)  # one more while a checkpoint takes the place of the last
    return StageEstimate(stage, updates + scoring, disk, at_once * max(memory), reckoned)


def _parameters(costs: Sequence[UpdateCost], decoders: Mapping[str, str]) -> int:
    """Of a joint training: the encoder up to the highest level, and every decoder, a shared one once."""
    encoder = max(cost.num_parameters - cost.num_decoder_parameters for cost in costs)
    return encoder + sum({decoders[cost.plan.task]: cost.num_decoder_parameters for cost in costs}.values())


def _scoring(config: RunConfig, cost: UpdateCost, split: str, steps: Steps) -> float:
    task = cost.plan.task
    examples, pictures = steps.sizes.get((task, split), (0, 0))
    kind = resolve(TASKS, config.tasks[task].type or task, kind="task")
    if kind.scoring != "all_pairs":
        return cost.seconds_per_score * examples
    num_exact = min(NUM_EXACT * (examples + pictures), examples * pictures)
    return cost.seconds_per_score * examples * pictures + cost.seconds_per_exact * num_exact


def _evaluation(config: RunConfig, plans: Plans, steps: Steps) -> StageEstimate:
    costs = {cost.plan.task: cost for cost in steps.updates.values()}
    if set(costs) != set(config.tasks):
        return StageEstimate("eval", None, None, None, "no score could be timed")
    models = 1 + ("search-layers" in plans.trainings)
    training = training_of(config.splits.protocol)
    scored = [
        name
        for name in costs
        if config.splits.protocol == "paper"
        or training is None
        or (config.tasks[name].type or name, "test") in training.scored
    ]
    seconds = models * sum(_scoring(config, costs[name], "test", steps) for name in scored)
    return StageEstimate("eval", seconds, 0, steps.held_bytes, f"{', '.join(scored)}; {models} model(s)")


def sizes_of(config: RunConfig, trainings: Mapping[str, PreparedTasks]) -> dict[tuple[str, str], tuple[int, int]]:
    """(task, split) → examples and pictures, as read; of files that are not there, as the sources expect."""
    from vltool.tasks.prepare import image_ids_of

    sizes: dict[tuple[str, str], tuple[int, int]] = {}
    for prepared in trainings.values():
        for name, splits in prepared.examples.items():
            for split, examples in splits.items():
                if examples:
                    sizes.setdefault((name, split), (len(examples), len(image_ids_of(examples))))
    if trainings:
        return sizes
    for name, task in config.tasks.items():
        for split in ("train", "val", "test"):
            expected = [source.expect for source in getattr(task, split)]
            if expected and all(expected):
                pictures = sum(e.get("pictures", e.get("records", 0)) for e in expected)
                records = sum(e.get("records", 5 * e.get("pictures", 0)) for e in expected)
                sizes[name, split] = (records, pictures)
    return sizes


def as_plain(estimates: Sequence[StageEstimate]) -> list[dict[str, Any]]:
    """For --json."""
    return [asdict(estimate) for estimate in estimates]
