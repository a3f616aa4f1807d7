"""The plan file: what the layer search chose for each task, as `train-joint` reads it.

{"tasks": [{"task": "vqa", "level": 3, "num_updates": 600, "batch_size": 64, "step_size": 300, "first_stage": 0}],
 "chosen": {"vqa": {"metric": "accuracy", "score": 61.2, "runner_up": 60.8, "folder": "…/search/vqa/l3-b64-…"}}}

One written by hand may be YAML (`.yaml`), which has room for remarks: where each number comes from.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from vltool.errors import ConfigError, TrainingError
from vltool.json_files import write_json
from vltool.search.trials import TrialResult
from vltool.structures import TaskPlan
from vltool.yaml_files import read_yaml


def choose(results: Sequence[TrialResult]) -> dict[str, TrialResult]:
    """The best trial of each task by validation score; among equals the lowest level, then the shortest training."""
    chosen: dict[str, TrialResult] = {}
    for task in dict.fromkeys(result.plan.task for result in results):
        found = [result for result in results if result.plan.task == task and not result.error]
        if not found:
            first = next(result.error for result in results if result.plan.task == task)
            raise TrainingError(f"every trial of {task} failed, the first with: {first}")
        chosen[task] = min(found, key=lambda result: (-result.score, result.plan.level, result.plan.num_updates))
    return chosen


def save_plan(path: Path, results: Sequence[TrialResult]) -> dict[str, Any]:
    """Write the plan of a search, atomically, and give it. Tasks that were not searched keep the plan they had.

    Raises ConfigError for a YAML plan, which somebody has written by hand.
    """
    if path.suffix == ".yaml":
        raise ConfigError(f"{path}: written by hand: a search does not replace it. Name a .json as training.plan")
    chosen = choose(results)
    before = _read(path) if path.exists() else {"tasks": []}
    kept = [task for task in before["tasks"] if task["task"] not in chosen]
    plan = {
        "tasks": [*kept, *(asdict(result.plan) for result in chosen.values())],
        "chosen": {name: found for name, found in before.get("chosen", {}).items() if name not in chosen}
        | {
            task: {
                "metric": result.metric,
                "score": result.score,
                "runner_up": _runner_up(results, result),
                "folder": result.folder,
            }
            for task, result in chosen.items()
        },
    }
    write_json(path, plan, indent=1)
    return plan


def load_plan(path: Path | str, tasks: Sequence[str]) -> tuple[TaskPlan, ...]:
    """The plans of `tasks` from a plan file. Raises ConfigError if it is missing, damaged or lacks a task."""
    path = Path(path)
    found = {plan.task: plan for plan in TypeAdapter(list[TaskPlan]).validate_python(_read(path)["tasks"])}
    for task in tasks:
        if task not in found:
            raise ConfigError(
                f"{path}: no plan for task {task!r}; it has {', '.join(found) or 'none'}. "
                f"Run: vltool search-layers CONFIG --task {task}"
            )
    return tuple(found[task] for task in tasks)


def load_chosen(path: Path | str) -> dict[str, dict[str, Any]]:
    """task → metric, score, runner_up and the folder of the winning trial; empty for a plan written by hand."""
    return dict(_read(Path(path)).get("chosen", {}))


def _read(path: Path) -> dict[str, Any]:
    try:
        if not path.exists():
            raise FileNotFoundError(path)
        plan = read_yaml(path) if path.suffix == ".yaml" else json.loads(path.read_text(encoding="utf-8"))
        TypeAdapter(list[TaskPlan]).validate_python(plan["tasks"])
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: no plan file. Run: vltool search-layers CONFIG, or write one (docs/search.md)"
        ) from None
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise ConfigError(
            f'{path}: not a plan file ({type(error).__name__}). It holds {{"tasks": [{{"task", "level", '
            '"num_updates", "batch_size", "step_size"}]}: see docs/search.md'
        ) from error
    return dict(plan)


def _runner_up(results: Sequence[TrialResult], best: TrialResult) -> float | None:
    others = [r.score for r in results if r.plan.task == best.plan.task and r is not best and not r.error]
    return max(others, default=None)
