"""The folder in which the pages' examples run: made once, each page walked at most once, after those before it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.docs.walk import DOCS, follow

COMMANDS = (
    "index",
    "world",
    "extract-features",
    "features",
    "embed-text",
    "search-layers",
    "train-joint",
    "eval",
    "score",
    "splits",
    "predict",
    "run",
    "report",
    "demo",
    "doctor",
)
"""The pages of docs/commands, in the order in which their examples run: each may use what those before it made."""


class Folder:
    """Where the examples run. site: where pip installs what a page adds to vltool."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.site = place / "site"
        self.site.mkdir(parents=True)
        self._done: dict[str, int | Exception] = {}

    def walk(self, command: str) -> int:
        """How many examples of the command's page ran. Raises what they raised."""
        for name in COMMANDS[: COMMANDS.index(command) + 1]:
            if name not in self._done:
                try:
                    self._done[name] = follow(DOCS / "commands" / f"{name}.md")
                except (Exception, AssertionError) as error:  # noqa: BLE001 - raised below, for its own page
                    self._done[name] = error
        found = self._done[command]
        if isinstance(found, Exception):
            raise found
        return found


@pytest.fixture(scope="session")
def examples_folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return Folder(tmp_path_factory.mktemp("examples"))


@pytest.fixture
def folder(examples_folder: Folder, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """The examples' folder as the working directory, what pages install importable here and in processes begun here."""
    monkeypatch.chdir(examples_folder.place)
    monkeypatch.syspath_prepend(str(examples_folder.site))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    return examples_folder
