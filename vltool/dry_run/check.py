"""A dry run: everything that a run reads is looked at, a few of its steps are timed, and nothing of it is written."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from typing import Any

from vltool.config import RunConfig
from vltool.dry_run.estimate import (
    StageEstimate,
    Steps,
    as_plain,
    estimate_stages,
    examine_room,
    sizes_of,
)
from vltool.dry_run.findings import Findings
from vltool.dry_run.memory import machine_bytes
from vltool.dry_run.pictures import Pictures, examine_coverage, examine_pictures
from vltool.dry_run.plans import Plans, examine_batches, examine_plans
from vltool.dry_run.rehearsal import EXAMPLES_ON_CPU, PictureCost, UpdateCost, time_pictures, time_tokens, time_updates
from vltool.dry_run.sharers import examine_sharers
from vltool.dry_run.stand_in import sentences_of, some_of, stand_in_tasks
from vltool.dry_run.text import TextFiles, examine_text
from vltool.engines.local import num_cores
from vltool.errors import VltoolError
from vltool.pipeline import finished_stages
from vltool.stages.stage import Listener
from vltool.structures import TaskPlan

# Where neither store, pictures nor vectors tell. Regions: of the bottom-up detector, 10 to 100 a picture: the
# files that the authors of dense co-attention gave out hold 3,924,253 of COCO's 123,287 pictures. Features: its pool5.
USUAL_REGIONS, USUAL_FEATURES, USUAL_VECTORS = 32, 2048, 300


@dataclass(frozen=True)
class DryRun:
    """findings: what is there and what is wrong. estimates: of every stage; assumptions: what they rest on."""

    findings: Findings
    estimates: list[StageEstimate]
    assumptions: list[str]
    free_bytes: int

    @property
    def is_ready(self) -> bool:
        return not self.findings.problems

    def to_json(self) -> dict[str, Any]:
        known = [estimate.seconds for estimate in self.estimates]
        return {
            "ready": self.is_ready,
            "problems": [asdict(problem) for problem in self.findings.problems],
            "files": [asdict(fact) for fact in self.findings.facts],
            "estimate": {
                "stages": as_plain(self.estimates),
                "seconds": None if None in known else sum(seconds for seconds in known if seconds is not None),
                "disk_bytes": sum(estimate.disk_bytes or 0 for estimate in self.estimates),
                "disk_free_bytes": self.free_bytes,
                "memory_bytes": max((estimate.memory_bytes or 0 for estimate in self.estimates), default=0),
                "memory_of_machine_bytes": machine_bytes(),
                "assumptions": self.assumptions,
            },
        }


def dry_run(config: RunConfig, listener: Listener) -> DryRun:
    """Examine every stage of a run and estimate what it takes. Problems are collected, not raised."""
    findings = Findings()
    listener.say("looking at the official files …")
    text = examine_text(config, findings)
    listener.say("looking at detector, pictures and store …")
    pictures = examine_pictures(config, findings)
    examine_coverage(config, findings, pictures, text.trainings)
    plans = examine_plans(config, findings)
    examine_batches(config, findings, plans, text.trainings.values())
    assumptions: list[str] = []
    usable = config
    if any(problem.file.startswith("training") for problem in findings.problems):
        assumptions.append("the device or precision asked for cannot be had here: timed with training.device=auto")
        usable = replace(config, training=replace(config.training, device="auto", precision="auto", accumulate=1))
    steps = _rehearse(usable, findings, listener, text, pictures, plans, assumptions)
    estimates = estimate_stages(config, plans, steps, done=finished_stages(config))
    free = examine_room(config, estimates, findings)
    return DryRun(findings, estimates, assumptions, free)


def _rehearse(
    config: RunConfig,
    findings: Findings,
    listener: Listener,
    text: TextFiles,
    pictures: Pictures,
    plans: Plans,
    assumptions: list[str],
) -> Steps:
    from vltool.dry_run.memory import peak_bytes, restart_peak
    from vltool.training.run import pick_device

    picture = _rehearse_pictures(config, findings, listener, pictures)
    prepared = next(iter(text.trainings.values()), None)
    if prepared is None or not all(splits["train"] for splits in prepared.examples.values()):
        assumptions.append(
            "the files of the tasks are not all there: sentences of the generated world stand for theirs"
        )
        prepared = stand_in_tasks(config)
    examine_sharers(config, prepared, plans, findings)
    feature_dim = pictures.feature_dim or USUAL_FEATURES
    regions = pictures.region_counts or ([round(picture.regions)] if picture else [_usual_regions(config)])
    if not pictures.region_counts:
        told = f"measured on {picture.num_pictures} pictures" if picture else "assumed"
        assumptions.append(f"{regions[0]} regions a picture ({told}), {feature_dim}-d features")
    width = USUAL_VECTORS if text.vector_width is None else text.vector_width
    updates: dict[TaskPlan, UpdateCost] = {}
    for plan in plans.tasks:
        measured = _like(plan, updates)
        if measured is None and plan.task in prepared.tasks:
            listener.say(f"timing updates of {plan.task} at level {plan.level} …")
            with findings.collecting("train-joint", f"tasks.{plan.task}", todo="Correct what is named"):
                measured = time_updates(
                    config, prepared, plan, vector_width=width, feature_dim=feature_dim, region_counts=regions
                )
        if measured is not None:
            updates[plan] = measured
    assumptions += _what_was_measured(config, updates)
    sizes = sizes_of(config, text.trainings)
    unknown = [name for name in config.tasks if (name, "val") not in sizes and not text.trainings]
    if unknown:
        assumptions.append(f"scoring is not counted for {', '.join(unknown)}: how much there is, is not known yet")
    everything = [e for splits in prepared.examples.values() for found in splits.values() for e in found]
    own = bool(text.trainings)
    restart_peak(pick_device("cpu"))
    return Steps(
        updates=updates,
        picture=picture,
        regions=sum(regions) / len(regions),
        feature_dim=feature_dim,
        vector_width=width,
        sizes=sizes,
        num_new_pictures=None if pictures.pending else len(pictures.new),
        num_sentences=len(sentences_of(everything)) if own else None,
        seconds_per_sentence=time_tokens(config, sentences_of(some_of(everything, min(2000, len(everything))))),
        seconds_reading=text.seconds,
        vector_bytes=text.vector_bytes,
        held_bytes=peak_bytes(pick_device("cpu")),
    )


def _rehearse_pictures(
    config: RunConfig, findings: Findings, listener: Listener, pictures: Pictures
) -> PictureCost | None:
    if pictures.detector is None or not pictures.new:
        return None
    listener.say("describing a few pictures …")
    try:
        return time_pictures(config, pictures)
    except VltoolError as error:
        findings.refuse("extract-features", "features.extract", str(error), "Mend or remove that picture")
        return None


def _usual_regions(config: RunConfig) -> int:
    return 36 if config.features.recipe == "bottom-up-36" else min(USUAL_REGIONS, config.features.max_boxes)


def _like(plan: TaskPlan, measured: dict[TaskPlan, UpdateCost]) -> UpdateCost | None:
    """The cost of a plan that differs from a measured one in its number of updates and steps alone."""
    same = [
        c for p, c in measured.items() if (p.task, p.level, p.batch_size) == (plan.task, plan.level, plan.batch_size)
    ]
    return replace(same[0], plan=plan) if same else None


def _what_was_measured(config: RunConfig, updates: dict[TaskPlan, UpdateCost]) -> list[str]:
    from vltool.training.run import pick_device

    lines = [
        f"{plan.task}, level {plan.level}, batches of {plan.batch_size}: {cost.seconds:.2f} s an update "
        f"(measured with {cost.num_examples}, {cost.words:.1f} words and {cost.regions:.0f} regions), "
        f"{1000 * cost.seconds_per_score:.2f} ms a score"
        for plan, cost in updates.items()
    ]
    search = config.search
    if "search-layers" in config.stages and any(grid.set for grid in (search.grid, *search.tasks.values())):
        lines.append(
            "trials were timed with the run's own network, whatever search.grid.set makes of it: vltool search-layers "
            "--dry-run times each"
        )
    load, cores = os.getloadavg()[0], num_cores()
    if updates and load > 1.5 * cores:
        lines.append(
            f"other programs use this machine (load {load:.1f} on {cores} cores): alone the run would be faster"
        )
    if config.training.compile:
        lines.append("updates were timed without training.compile")
    if updates and pick_device(config.training.device).type == "cpu":
        lines.append(
            f"on a CPU at most {EXAMPLES_ON_CPU} examples are timed at once and the rest put in proportion; trainings "
            "that run at once share the cores, so that together they take as long as one after another"
        )
    return lines
