"""The plan file: what the layer search chose for each task, as `train-joint` reads it.

{"tasks": [{"task": "vqa", "level": 3, "num_updates": 600, "batch_size": 64, "step_size": 300, "first_stage": 0}],
 "chosen": {"vqa": {"metric": "accuracy", "score": 61.2, "seeds": [0, 1, 2], "scores": [61.0, 61.4, 61.2],
                    "runner_up": 60.8, "runner_up_cell": "l2-b64-u600-s300", "margin": 0.4, "compared_at": 600,
                    "spread": 0.2, "exceeds_spread": true, "settings": {}, "folder": "…/search/vqa/l3-b64-…"}}}

One written by hand may be YAML (`.yaml`), which has room for remarks: where each number comes from.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from vltool.config import RunConfig
from vltool.errors import ConfigError
from vltool.json_files import write_json
from vltool.models.joint_model import check_shared_levels
from vltool.search.choice import Choice
from vltool.search.grid import Settings, at_share, with_settings
from vltool.structures import TaskPlan
from vltool.yaml_files import read_yaml

LEAST = {"level": 1, "num_updates": 1, "batch_size": 1, "step_size": 1, "first_stage": 0}
"""The lowest legal values of a plan."""


def save_plan(path: Path, chosen: Mapping[str, Choice], *, shares: Sequence[float] = (1.0,)) -> dict[str, Any]:
    """Write the plan of a search, atomically, and give it. Tasks that were not searched keep the plan they had."""
    found = {task: _chosen(choice, shares) for task, choice in chosen.items()}
    return write_plan(path, {task: choice.best.cell.plan for task, choice in chosen.items()}, found)


def about_sharers(config: RunConfig, chosen: Mapping[str, Choice], plan: Mapping[str, Any]) -> list[str]:
    """What is to be said of tasks that share a decoder: who gave up a level, whose plans do not go together.

    chosen: of the tasks that were searched now. plan: the file, which may have others.
    """
    told = [
        f"{task}: level {choice.best.cell.plan.level} with those that share its decoder {config.decoders[task]!r}; "
        f"alone it would have chosen {choice.alone.cell.name}"
        for task, choice in chosen.items()
        if choice.alone is not None
    ]
    levels = {own["task"]: own["level"] for own in plan["tasks"] if own["task"] in config.decoders}
    try:
        check_shared_levels(levels, config.decoders)
    except ConfigError as error:
        told.append(f"train-joint will refuse this plan: {error}, or search them in one call: they then get one level")
    return told


def write_plan(path: Path, plans: Mapping[str, TaskPlan], chosen: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Write `plans` and what is known of their choice, and give the file. Other tasks keep what it said of them.

    Raises ConfigError for a YAML plan, which somebody has written by hand.
    """
    if path.suffix == ".yaml":
        raise ConfigError(f"{path}: written by hand: a search does not replace it. Name a .json as training.plan")
    before = _read(path) if path.exists() else {"tasks": []}
    plan = {
        "tasks": [
            *(task for task in before["tasks"] if task["task"] not in plans),
            *(asdict(own) for own in plans.values()),
        ],
        "chosen": {task: own for task, own in before.get("chosen", {}).items() if task not in plans} | dict(chosen),
    }
    write_json(path, plan, indent=1)
    return plan


def _chosen(choice: Choice, shares: Sequence[float]) -> dict[str, Any]:
    best, runner_up = choice.best, choice.runner_up
    return {
        "metric": best.metric,
        "score": best.mean(),
        "seeds": list(best.seeds),
        "scores": list(best.scores[best.last_rung]),
        "runner_up": runner_up.mean() if runner_up else None,
        "runner_up_cell": runner_up.cell.name if runner_up else None,
        "margin": choice.margin,
        "compared_at": at_share(best.cell, shares[choice.rung]).num_updates,
        "spread": choice.spread,
        "exceeds_spread": choice.exceeds_spread,
        "settings": {key: yaml.safe_load(value) for key, value in best.cell.settings},
        "folder": best.folders[0],
    }


def load_plan(path: Path | str, tasks: Sequence[str], *, num_levels: int | None = None) -> tuple[TaskPlan, ...]:
    """The plans of `tasks` from a plan file. Raises ConfigError if it is missing, damaged or lacks a task.

    num_levels: of the encoder, if it is known; a plan of a level that it has not is refused too.
    """
    path = Path(path)
    found = {plan.task: plan for plan in _plans(path, _read(path)["tasks"])}
    for task in tasks:
        if task not in found:
            raise ConfigError(
                f"{path}: no plan for task {task!r}; it has {', '.join(found) or 'none'}. "
                f"Run: vltool search-layers CONFIG --task {task}"
            )
        if num_levels is not None and found[task].level > num_levels:
            raise ConfigError(
                f"{path}: level {found[task].level} of {task}: legal is 1 to {num_levels}, the encoder's levels"
            )
    return tuple(found[task] for task in tasks)


def load_chosen(path: Path | str) -> dict[str, dict[str, Any]]:
    """task → what is known of the trial that won; empty for a plan that was not searched."""
    return {task: own for task, own in dict(_read(Path(path)).get("chosen", {})).items() if "folder" in own}


def chosen_settings(config: RunConfig, task: str) -> Settings:
    """What the search chose for a task beyond its plan, as `with_settings` takes it."""
    path = Path(config.training.plan)
    own = load_chosen(path).get(task, {}) if path.exists() else {}
    return tuple((key, json.dumps(value)) for key, value in own.get("settings", {}).items())


def as_chosen(config: RunConfig, tasks: Sequence[str], *, say: Callable[[str], None] | None = None) -> RunConfig:
    """`config` with the settings that the search chose, where all of `tasks` chose the same; says what it does.

    A joint training has one learning rate: where tasks chose different ones the run's own stays.
    """
    found = {task: dict(chosen_settings(config, task)) for task in tasks}
    agreed: list[tuple[str, str]] = []
    for key in dict.fromkeys(key for own in found.values() for key in own):
        values = [own.get(key) for own in found.values()]
        if len(set(values)) == 1 and values[0] is not None:
            agreed.append((key, values[0]))
            told = f"{key} {values[0]}, as the search chose"
        else:
            each = ", ".join(f"{task} {own.get(key, 'was not asked')}" for task, own in found.items())
            told = f"{key} stays the run's own: the search chose differently for each task ({each})"
        (say or (lambda text: None))(told)
    return with_settings(config, tuple(agreed))


def _read(path: Path) -> dict[str, Any]:
    try:
        if not path.exists():
            raise FileNotFoundError(path)
        plan = read_yaml(path) if path.suffix == ".yaml" else json.loads(path.read_text(encoding="utf-8"))
        _plans(path, plan["tasks"])
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: no plan file. Run: vltool search-layers CONFIG, or write one (docs/search.md)"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f'{path}: not a plan file ({_reason(error)}). It holds {{"tasks": [{{"task", "level", '
            '"num_updates", "batch_size", "step_size"}]}: see docs/search.md'
        ) from error
    return dict(plan)


def _plans(path: Path, tasks: Any) -> list[TaskPlan]:
    """The plans under "tasks", each with the keys and values that a plan has. Raises ConfigError, or ValueError."""
    plans = TypeAdapter(list[TaskPlan]).validate_python(tasks)
    known = [item.name for item in fields(TaskPlan)]
    for raw, plan in zip(tasks, plans, strict=True):
        for key in set(raw) - set(known):
            raise ConfigError(
                f"{path}: unknown key {key!r} in the plan of {plan.task} (known here: {', '.join(known)})"
            )
        for name, least in LEAST.items():
            if getattr(plan, name) < least:
                raise ConfigError(f"{path}: {name} of {plan.task} is {getattr(plan, name)}; legal is {least} or more")
    names = [plan.task for plan in plans]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"{path}: has {names.count(name)} plans of {name}: keep one of them")
    return plans


def _reason(error: Exception) -> str:
    """What pydantic, json or Python had against a plan, with the place."""
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, ('tasks', *item['loc'])))}: {item['msg']}" for item in error.errors())
    return f"no key {error}" if isinstance(error, KeyError) else str(error)
