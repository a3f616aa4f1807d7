"""What commands show: messages and progress on stderr, results on stdout."""

from __future__ import annotations

import json
import sys
import time
from types import TracebackType
from typing import Any

from rich.console import Console as RichConsole
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

SECONDS_BETWEEN_LINES = 15.0


class Console:
    """Tells a person how a run goes. On a terminal a bar with the time left, elsewhere a line now and then."""

    def __init__(self, *, quiet: bool = False):
        self.quiet = quiet
        self.rich = RichConsole(stderr=True, highlight=False, markup=False)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._live: Live | None = None
        self._shown = 0.0
        self._began: tuple[float, int] | None = None  # when a row of progress began, and where

    def say(self, text: str) -> None:
        if not self.quiet:
            self.rich.print(text, markup=False, soft_wrap=True)  # paths stay whole

    def progress(self, label: str, done: int, total: int) -> None:
        if self.quiet:
            return
        if not self.rich.is_terminal:
            self._say_now_and_then(label, done, total)
            return
        if self._bar is None:
            self.close()
            columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=self.rich, transient=True)
            self._bar.start()
            self._task = self._bar.add_task(label, total=total)
        assert self._task is not None
        if self._bar.tasks[0].total != total or done < self._bar.tasks[0].completed:
            self._bar.reset(self._task, total=total, description=label)
        self._bar.update(self._task, completed=done, description=label)
        if done >= total:
            self.close()

    def _say_now_and_then(self, label: str, done: int, total: int) -> None:
        now = time.monotonic()
        if self._began is None or self._began[1] > done:  # the first of a row
            self._began = (now, done)
        if done < total and now - self._shown < SECONDS_BETWEEN_LINES:
            return
        self._shown = now
        since, before = self._began
        left = time_left(now - since, done - before, total - done)
        self.say(f"  {label}: {done:,} of {total:,}" + (f", {left} left" if left else ""))

    def table(self, title: str, columns: list[str], rows: list[list[str]]) -> None:
        """On a terminal a table that is drawn in place of the one before, elsewhere a line now and then."""
        if self.quiet:
            return
        if not self.rich.is_terminal:
            if time.monotonic() - self._shown > 15:
                self._shown = time.monotonic()
                self.say(f"  {title}: " + "; ".join(" ".join(row) for row in rows))
            return
        if self._live is None:
            self.close()
            self._live = Live(console=self.rich, transient=True, auto_refresh=False)
            self._live.start()
        self._live.update(_table(title, columns, rows, min_width=len(title)), refresh=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = self._task = None
        if self._live is not None:
            self._live.stop()
            self._live = None

    def __enter__(self) -> Console:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def time_left(seconds: float, done: int, to_do: int) -> str:
    """How long `to_do` more take if `done` took `seconds`, as 2 h 05 min, 7 min or 40 s; empty if nobody knows."""
    if done < 1 or to_do < 1 or seconds < 1:
        return ""
    left = seconds / done * to_do
    if left < 60:
        return f"{left:.0f} s"
    hours, minutes = divmod(round(left / 60), 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min"


def print_json(value: Any) -> None:
    """One JSON object on stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")


def print_lines(*lines: str) -> None:
    """Results for a person, on stdout."""
    sys.stdout.write("".join(line + "\n" for line in lines))


def print_table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """A table on stdout; the first column is text, the others are right-aligned."""
    RichConsole(file=sys.stdout, highlight=False, markup=False, emoji=False).print(_table(title, columns, rows))


def _table(title: str, columns: list[str], rows: list[list[str]], *, min_width: int = 0) -> Table:
    table = Table(title=title, title_justify="left", min_width=min_width)
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right")
    for row in rows:
        table.add_row(*row)
    return table
