"""The trainings that a run will make: of the grid, of the plan, of every combination; and what cannot be among them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from vltool.config import RunConfig
from vltool.dry_run.findings import Findings
from vltool.errors import ConfigError
from vltool.search.plan import load_plan
from vltool.search.preset import preset_plans
from vltool.search.task_search import list_trials
from vltool.splits.protocol import trainings_of
from vltool.stages.runs import scored_by
from vltool.structures import TaskPlan
from vltool.tasks.network import encoder_options
from vltool.tasks.prepare import PreparedTasks
from vltool.training.combinations import list_combinations
from vltool.training.run import check_batches, check_settings, pick_device
from vltool.training.schedule import JointPlan

TRAINING_STAGES = ("search-layers", "train-joint", "train-combinations")


@dataclass
class Plans:
    """stage → the trainings it makes, each a plan of tasks."""

    trainings: dict[str, list[JointPlan]] = field(default_factory=dict)

    @property
    def tasks(self) -> list[TaskPlan]:
        """Every task's plans, each once."""
        return list(dict.fromkeys(plan for found in self.trainings.values() for joint in found for plan in joint.tasks))


def examine_plans(config: RunConfig, findings: Findings) -> Plans:
    """The grid or the plan file, the encoder's options, the device, what is to be scored."""
    found = Plans()
    if any(stage in config.stages for stage in TRAINING_STAGES):
        _examine_device(config, findings)
    todo = "Correct the key that is named"
    chosen: tuple[TaskPlan, ...] = ()
    if "search-layers" in config.stages:
        with findings.collecting("search-layers", "search.grid", todo=todo):
            trials = _searched(config)
            found.trainings["search-layers"] = [JointPlan((plan,), config.training.cycle_updates) for plan in trials]
            chosen = tuple(max((p for p in trials if p.task == name), key=_size) for name in config.tasks)
            findings.note("search-layers", "search.grid", f"{len(trials)} trials of {len(config.tasks)} tasks")
    elif "train-joint" in config.stages or "train-combinations" in config.stages:
        chosen = _examine_plan_file(config, findings)
    for stage in TRAINING_STAGES[1:]:
        if stage in config.stages and chosen:
            with findings.collecting(stage, "training.cycle_updates", todo=todo):
                found.trainings[stage] = _trainings(config, stage, chosen)
    if "eval" in config.stages:
        _examine_scored(config, findings)
    return found


def examine_batches(config: RunConfig, findings: Findings, plans: Plans, trainings: Collection[PreparedTasks]) -> None:
    """Batches against the training data, where it is there to be counted."""
    searched = "search-layers" in plans.trainings and not config.search.preset
    where = "search.grid" if searched else config.training.plan
    todo = "Lower that batch_size, or name more training data"
    for stage, joint in ((stage, joint) for stage, found in plans.trainings.items() for joint in found):
        for prepared in trainings:
            with findings.collecting(stage, where, todo=todo):
                check_batches(prepared, joint, where=where)


def _searched(config: RunConfig) -> list[TaskPlan]:
    """The plan of every trial; a preset's own where nothing is searched."""
    tasks = list(config.tasks)
    if config.search.preset:
        return list(preset_plans(config, tasks).values())
    return [trial.cell.plan for own in list_trials(config, tasks).values() for trial in own]


def _size(plan: TaskPlan) -> int:
    return plan.level * plan.num_updates * plan.batch_size


def _trainings(config: RunConfig, stage: str, chosen: tuple[TaskPlan, ...]) -> list[JointPlan]:
    joint = JointPlan(chosen, config.training.cycle_updates)
    if stage == "train-joint":
        return [joint] * len(trainings_of(config.splits.protocol))
    listed = list_combinations(config, chosen, seeds=config.combinations.seeds)
    return [JointPlan(item.plans, item.cycle_updates) for item in listed]


def _examine_plan_file(config: RunConfig, findings: Findings) -> tuple[TaskPlan, ...]:
    path = Path(config.training.plan)
    todo = "Write the plan (docs/search.md), name another (training.plan), or add the stage search-layers"
    with findings.collecting("train-joint", path, todo=todo):
        plans = load_plan(path, list(config.tasks), num_levels=encoder_options(config.encoder).num_levels)
        levels = ", ".join(f"{plan.task} level {plan.level}, {plan.num_updates:,} updates" for plan in plans)
        findings.note("train-joint", path, levels)
        return plans
    return ()


def _examine_device(config: RunConfig, findings: Findings) -> None:
    from vltool.models.precision import resolve_precision

    name = config.training.device
    try:
        device = pick_device(name)
        if device.type == "cuda":
            import torch

            torch.empty(1, device=device)
        findings.note(
            "train-joint", "training.device", f"{device}, {resolve_precision(config.training.precision, device)}"
        )
    except (RuntimeError, AssertionError, ConfigError) as error:  # torch says in many ways that a device is not there
        findings.refuse(
            "train-joint", f"training.device: {name}", str(error).split("\n")[0], "Set training.device=auto"
        )
    with findings.collecting("train-joint", "training", todo="Correct the key that is named"):
        check_settings(config.training)
    if config.training.init_from:
        from vltool.training import checkpoint

        with findings.collecting("train-joint", config.training.init_from, todo="Name another training.init_from"):
            checkpoint.load(config.training.init_from)


def _examine_scored(config: RunConfig, findings: Findings) -> None:
    scored = [name for name in config.tasks if scored_by(config, name) is not None]
    for name in scored:
        if not config.tasks[name].test:
            findings.refuse(
                "eval", f"tasks.{name}.test", "names no source", "Name a test set, or leave the stage eval out"
            )
    left = [name for name in config.tasks if name not in scored]
    if left:
        findings.note("eval", "splits.protocol", f"{config.splits.protocol}: not scored are {', '.join(left)}")
