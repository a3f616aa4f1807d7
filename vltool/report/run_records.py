"""What the files of a run must hold for the page to be drawn; anything else is an error that names file and field."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from vltool.errors import DataError

AGAIN = "Remove it and run the stage that writes it again"
Scores = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Evaluation:
    """eval/<model>-<split>.json"""

    model: str
    split: str
    tasks: Scores
    ignorance: Scores = field(default_factory=dict)
    contamination: dict[str, Any] = field(default_factory=dict)
    rules: dict[str, dict[str, Any]] = field(default_factory=dict)
    protocol: str = ""


@dataclass(frozen=True)
class CountedSplit:
    """A row of `examples` in counts.json."""

    task: str
    split: str
    used: int


@dataclass(frozen=True)
class SharedPictures:
    """A row of `contamination` in counts.json."""

    train: str
    evaluated: str
    images: int
    examples: int


@dataclass(frozen=True)
class Counts:
    """counts.json"""

    examples: list[CountedSplit]
    contamination: list[SharedPictures] = field(default_factory=list)


@dataclass(frozen=True)
class PlannedTask:
    """A row of `tasks` in plan.json."""

    task: str
    level: int


@dataclass(frozen=True)
class Plan:
    """plan.json"""

    tasks: list[PlannedTask]
    chosen: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class StageMark:
    """stages/<stage>.json"""

    seconds: float = 0.0


@dataclass(frozen=True)
class LogLine:
    """A line of log.jsonl."""

    kind: str
    update: int
    cycle: int
    task: str = ""
    loss: float = 0.0
    scores: dict[str, float] = field(default_factory=dict)
    contaminated: int = 0


@dataclass(frozen=True)
class Combination:
    """A row of combinations.json."""

    tasks: list[str]
    seeds: list[int]
    scores: dict[str, dict[str, dict[str, Any]]]


@dataclass(frozen=True)
class GivenAnswer:
    """A prediction of VQA."""

    question_id: int
    answer: str


@dataclass(frozen=True)
class RankedBoxes:
    """A prediction of grounding."""

    image_id: str | int
    sentence: int
    phrase: int
    boxes: list[tuple[float, float, float, float]]


@dataclass(frozen=True)
class Gold:
    """What the rows and columns of pair scores are."""

    caption_image: list[int]
    images: list[str]
    captions: list[str]


def checked(content: Any, shape: Any, path: Path, *, next_step: str = AGAIN) -> Any:
    """The content itself, if it has the shape. Raises DataError that names the file and the field."""
    try:
        TypeAdapter(shape).validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).lstrip(".")
        where = f"{where}: " if where else ""
        raise DataError(f"{path}: {where}{first['msg'][:1].lower()}{first['msg'][1:]}. {next_step}") from error
    return content
