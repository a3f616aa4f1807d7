"""What a dry run notes down: what is there, what is made later, what is wrong. All of it, not only the first."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from vltool.config import RunConfig
from vltool.errors import VltoolError


@dataclass(frozen=True)
class Problem:
    """What stops a stage: which file or key, what is wrong with it, what to do."""

    stage: str
    file: str
    wrong: str
    todo: str


@dataclass(frozen=True)
class Fact:
    """What was found of a file or key that a stage reads."""

    stage: str
    file: str
    found: str


@dataclass
class Findings:
    """problems: every one once. facts: in the order of the stages."""

    problems: list[Problem] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)

    def note(self, stage: str, file: object, found: str) -> None:
        fact = Fact(stage, str(file), found)
        if fact not in self.facts:
            self.facts.append(fact)

    def refuse(self, stage: str, file: object, wrong: str, todo: str) -> None:
        problem = Problem(stage, str(file), wrong, todo)
        if all((known.file, known.wrong) != (problem.file, problem.wrong) for known in self.problems):
            self.problems.append(problem)

    @contextmanager
    def collecting(self, stage: str, file: object, *, todo: str) -> Iterator[None]:
        """An error for the user becomes a problem, and the examination goes on."""
        try:
            yield
        except VltoolError as error:
            self.refuse(stage, file, str(error).removeprefix(f"{file}: "), todo)
        except OSError as error:
            self.refuse(stage, error.filename or file, error.strerror or str(error), todo)


def is_there(path: Path) -> bool:
    """Whether a file or folder, or the member or folder of an archive (`annotations.zip/Sentences`), is there."""
    if path.exists():
        return True
    archive = next((part for part in path.parents if part.suffix.lower() == ".zip" and part.is_file()), None)
    if archive is None:
        return False
    inner = path.relative_to(archive).as_posix()
    try:
        with zipfile.ZipFile(archive) as opened:
            return any(name == inner or name.startswith(f"{inner}/") for name in opened.namelist())
    except (OSError, zipfile.BadZipFile):
        return True  # what is wrong with the archive is for its reader to say


def is_made_later(path: Path, config: RunConfig) -> bool:
    """Whether a file that is not there is one that the run's own stage `world` will write."""
    if "world" not in config.stages or config.world is None:
        return False
    world = Path(config.world.out)
    return path.is_relative_to(world) and not (world / "world.json").exists()
