"""What the console shows of a table that changes: in place on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import io

import pytest
from rich.console import Console as RichConsole

from vltool.cli.console import Console, print_table


def shown(*, terminal: bool) -> str:
    console = Console()
    stream = io.StringIO()
    console.rich = RichConsole(file=stream, force_terminal=terminal, width=100, highlight=False)
    with console:
        console.table("best of 1 of 9 trainings, about 4 min left", ["task", "cell"], [["vqa", "l2-b64"]])
        console.say("vqa l2-b64: accuracy 50.00")
        console.table("best of 2 of 9 trainings, about 3 min left", ["task", "cell"], [["vqa", "l1-b64"]])
    return stream.getvalue()


def test_on_a_terminal_the_table_is_drawn_again_and_messages_stay_above_it() -> None:
    text = shown(terminal=True)
    assert "best of 1 of 9" in text and "best of 2 of 9" in text and "l1-b64" in text
    assert "\x1b[2K" in text or "\x1b[1A" in text  # the first drawing is wiped
    assert "vqa l2-b64: accuracy 50.00" in text


def test_elsewhere_it_is_a_line_and_not_one_for_every_change() -> None:
    text = shown(terminal=False)
    assert "best of 1 of 9 trainings, about 4 min left: vqa l2-b64" in text
    assert "best of 2 of 9" not in text


def test_tables_show_brackets_and_colons_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("in [brackets]", ["[red] type"], [["[bold]a"], ["coco:ok:1"]])
    shown = capsys.readouterr().out
    assert all(text in shown for text in ("[brackets]", "[red] type", "[bold]a", "coco:ok:1"))
