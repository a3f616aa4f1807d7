"""What the command line makes of an interruption: a message that says how to go on, and code 130."""

from __future__ import annotations

import sys

import pytest
import typer

from vltool.cli import app as command_line


def ending_with(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> object:
    """The exit code of the command line when its command raises `error`."""
    app = typer.Typer()

    @app.command()
    def command() -> None:
        raise error

    monkeypatch.setattr(command_line, "app", app)
    monkeypatch.setattr(sys, "argv", ["vltool"])
    with pytest.raises(SystemExit) as leaving:
        command_line.main()
    return leaving.value.code


def test_ctrl_c_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert ending_with(KeyboardInterrupt(), monkeypatch) == 130
    out, err = capsys.readouterr()
    assert (out, err) == ("", "vltool: interrupted; run the same command again to go on where it stopped\n")


def test_a_code_of_a_command_is_left_as_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ending_with(typer.Exit(130), monkeypatch) == 130  # of processes that have spoken themselves
    assert ending_with(typer.Exit(3), monkeypatch) == 3
    assert capsys.readouterr() == ("", "")
