"""What a training writes down: one JSON line an event, and TensorBoard curves from the same lines.

{"kind": "loss", "update": 40, "cycle": 1, "time": 1764082800.2, "task": "vqa", "loss": 3.1, "learning_rate": 0.001,
 "gradient_norm": 0.8, "examples_per_second": 910.2, "waiting": 0.01}
{"kind": "scores", "update": 400, "cycle": 19, "time": …, "task": "vqa", "split": "val", "scores": {"accuracy": 61.2}}
{"kind": "stop_and_go", "update": 300, "cycle": 14, "time": …, "task": "vqa", "score": 60.8, "is_at_rest": true}
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from vltool.errors import DataError
from vltool.training.curves import Curves

LOG_NAME = "log.jsonl"


class RunLog:
    """Appends to `folder`/log.jsonl and draws the curves. First it forgets the lines that `keep` does not want."""

    def __init__(self, folder: Path, *, keep: Callable[[dict[str, Any]], bool]):
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / LOG_NAME
        kept = [line for line in read_log(folder) if keep(line)]
        draft = self.path.with_name(f".{LOG_NAME}.writing")
        draft.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        draft.replace(self.path)
        self._file = self.path.open("a", encoding="utf-8")
        self._curves = Curves(folder)
        for line in kept:
            self._curves.add(line)

    def write(self, kind: str, *, update: int, cycle: int, **values: Any) -> dict[str, Any]:
        """Write a line; gives it."""
        line = {"kind": kind, "update": update, "cycle": cycle, "time": round(time.time(), 3), **values}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        self._curves.add(line)
        return line

    def __enter__(self) -> RunLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._curves.close()


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The whole lines of a training's log; a last line cut short by a kill is left out.

    Raises DataError naming a line that is none.
    """
    path = folder / LOG_NAME
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
    return [_parsed(line, path, number) for number, line in enumerate(lines, 1) if line.endswith("}")]


def _parsed(line: str, path: Path, number: int) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not {"kind", "update", "cycle"} <= set(found):
        raise DataError(f"{path}: line {number} is none of a training's log. Remove it and run the same command again")
    return found
