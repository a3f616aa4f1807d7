"""How a training ended: what `result.json` holds, written when it is finished."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vltool.json_files import write_json
from vltool.tasks.task import Scores
from vltool.training.identity import differences

RESULT_NAME = "result.json"


@dataclass(frozen=True)
class TrainingResult:
    """How a training ended.

    val: task → validation scores of the final weights. best: name of a checkpoint of the best weights on validation
    data ("best", "best-vqa") → {"update", "score"}. seconds: over all sessions; seconds_waiting: of them, for data.
    """

    folder: Path
    val: dict[str, Scores]
    num_updates: int
    seconds: float
    seconds_waiting: float
    best: dict[str, dict[str, float]] = field(default_factory=dict)


def read_result(folder: Path, identity: dict[str, Any]) -> TrainingResult | None:
    """The result of the training `identity` in a folder; None if it is not finished, damaged or another one's."""
    try:
        found = json.loads((folder / RESULT_NAME).read_text(encoding="utf-8"))
        known, result = found["identity"], found["result"]
        if differences(identity, known):
            return None
        return TrainingResult(folder, **result)
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None  # the checkpoint says how far it came


def write_result(result: TrainingResult, identity: dict[str, Any]) -> None:
    """Write it down, whole or not at all."""
    values = {key: value for key, value in asdict(result).items() if key != "folder"}
    write_json(result.folder / RESULT_NAME, {"identity": identity, "result": values}, indent=1)
