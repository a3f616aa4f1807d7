"""What stands in a checkpoint's run.json, so that a value changed by hand is named and not stumbled over.

    {"format": 1, "config": {…}, "plan": [{"task": "vqa", "level": 2, …}], "cycle": 5, "num_updates": 30,
     "standing": {"best": {"best": {"update": 24, "score": 51.2}}, "latest_update": 24, …}, …}

Keys that this version does not know are left alone at the top, and refused within a state that would be restored.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from vltool.errors import CheckpointError
from vltool.structures import TaskPlan
from vltool.training.meters import Meter
from vltool.training.standing import Standing
from vltool.training.stop_and_go import TaskPace

Whole = Annotated[int, Field(ge=0, strict=True)]
Positive = Annotated[int, Field(ge=1, strict=True)]
Seconds = Annotated[float, Field(ge=0, strict=True)]


@dataclass(frozen=True)
class _Paces:
    paces: dict[str, TaskPace]
    num_resets: Whole


@dataclass(frozen=True)
class _SavedRun:
    config: dict[str, Any]
    plan: Annotated[list[TaskPlan], Field(min_length=1)]
    trained_ids: Any
    cycle: Whole
    num_updates: Whole
    identity: dict[str, Any] = field(default_factory=dict)
    meters: dict[str, Meter] = field(default_factory=dict)
    standing: Standing = field(default_factory=Standing)
    stop_and_go: _Paces | None = None
    scaler: dict[str, float] = field(default_factory=dict)
    processes: Positive = 1
    seconds: Seconds = 0.0
    seconds_waiting: Seconds = 0.0
    feature_dim: Positive = 1
    vectors_shape: tuple[Positive, Whole] = (1, 0)
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    store_header: dict[str, Any] | None = None
    protocol: str = "clean"


@functools.cache
def _adapter() -> TypeAdapter[_SavedRun]:
    return TypeAdapter(_SavedRun)


def check_saved_run(run: Mapping[str, Any], path: Path, *, next_step: str) -> None:
    """Raises CheckpointError naming the file and every key whose value cannot be."""
    try:
        found = _adapter().validate_python(dict(run))
    except ValidationError as error:
        wrong = [_explain(problem) for problem in error.errors()]
    else:
        wrong = _out_of_range(found)
    if wrong:
        raise CheckpointError(f"{path}: {'; '.join(wrong)}. {next_step}")


def _explain(problem: Any) -> str:
    place = ".".join(str(part) for part in problem["loc"])
    found = repr(problem["input"])
    shown = found if len(found) <= 80 else found[:80] + "…"
    return f"'{place}': {problem['msg']} (found {shown})"


def _out_of_range(found: _SavedRun) -> list[str]:
    wrong = []
    for place, task in enumerate(found.plan):
        for name in ("level", "num_updates", "batch_size", "step_size"):
            if getattr(task, name) < 1:
                wrong.append(f"'plan.{place}.{name}': must be at least 1 (found {getattr(task, name)})")
    for name, pace in found.stop_and_go.paces.items() if found.stop_and_go else ():
        if not 0 <= pace.made <= pace.turns or pace.passes < 0:
            wrong.append(f"'stop_and_go.paces.{name}': made, turns and passes cannot be ({pace})")
    for name, best in found.standing.best.items():
        if set(best) != {"update", "score"}:
            wrong.append(f"'standing.best.{name}': must hold update and score (found {', '.join(best) or 'nothing'})")
    return wrong
