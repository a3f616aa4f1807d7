"""What all commands share: help with its brackets, empty values, and places where no file can be written."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tests.cli.test_commands import says, vltool
from vltool.cli.app import app
from vltool.cli.commands import Command
from vltool.errors import VltoolError

BRACKETS = re.compile(r"\[[^\[\]]+\]")


def commands() -> Iterator[tuple[list[str], Command]]:
    """Every command with the words that call it."""
    for name, found in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        for words, each in ([([name], found)] if isinstance(found, Command) else []) + [
            ([name, below], each) for below, each in getattr(found, "commands", {}).items()
        ]:
            assert isinstance(each, Command), f"{words} is no command of the house"
            yield words, each


def refuses(*arguments: object) -> str:
    """The message of a command that ends with an error of ours, and no work done."""
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    assert isinstance(result.exception, VltoolError), (result.output, result.exception)
    return str(result.exception)


def test_help_shows_every_bracket_that_was_written() -> None:
    bracketed = 0
    for words, command in commands():
        shown = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "400", "TERM": "dumb"}).output
        for described in (command, *command.params):
            written = (getattr(described, "help", None) or "").replace("\\[", "[")
            for found in BRACKETS.findall(written):
                assert found in shown, f"vltool {' '.join(words)} --help lost {found}"
                bracketed += 1
    assert bracketed >= 4


def test_no_path_of_any_command_may_be_empty() -> None:
    assert refuses("report", "run", "--out", "") == "--out is empty. Give a value after it, or leave the option out"
    assert refuses("predict", "c", "--pictures=", "--text", "a").startswith("--pictures is empty")
    assert refuses("predict", "", "--question", "what ?") == "CHECKPOINT is empty. Give a value"
    assert refuses("extract-features", "a.jpg", "", "--out", "s") == "SOURCE… is empty. Give a value"
    assert refuses("features", "merge", "a", "--out", "") == "--out is empty. Give a value after it"
    given = ["--questions", "q", "--annotations", "a", "--results", "r"]
    assert refuses("score", "vqa", *given, "--per-question", "").startswith("--per-question is empty")
    assert refuses("demo", "--set", "a=b", "--set", "").startswith("--set is empty")


def test_what_is_empty_by_default_may_be_empty(tmp_path: Path) -> None:
    assert "needs words" in refuses("predict", "c", "--image", "x.jpg", "--question", "", "--text", "")


def test_the_command_line_says_it_with_code_2() -> None:
    says(vltool("report", "run", "--out", ""), "vltool: --out is empty")


@pytest.mark.parametrize(
    "arguments",
    [
        ["report", "run", "--out"],
        ["score", "vqa", "--questions", "q", "--annotations", "a", "--results", "r", "--per-question"],
        ["predict", "c", "--image", "i.jpg", "--question", "what ?", "--figure"],
        ["features", "show", "s", "coco:1", "--npz"],
        ["features", "boxes", "run.yaml", "--out"],
        ["splits", "audit", "run.yaml", "--exclude-to"],
    ],
    ids=lambda arguments: f"{arguments[0]} {arguments[-1]}",
)
def test_pipes_and_folders_are_refused_as_files_to_write_before_any_work(arguments: list[str], tmp_path: Path) -> None:
    option, pipe, folder = arguments[-1], tmp_path / "pipe.png", tmp_path / "folder.png"
    os.mkfifo(pipe)
    folder.mkdir()
    assert refuses(*arguments, pipe) == f"{option} {pipe}: not a regular file. Give the name of a file to write"
    assert refuses(*arguments, folder) == f"{option} {folder}: a folder. Give the name of a file to write"
    assert pipe.is_fifo() and sorted(tmp_path.iterdir()) == [folder, pipe]
