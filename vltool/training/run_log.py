"""What a training writes down: one JSON line an event, and TensorBoard curves from the same lines.

{"kind": "loss", "update": 40, "cycle": 1, "task": "vqa", "loss": 3.1, "learning_rate": 0.001}
{"kind": "scores", "update": 400, "cycle": 19, "task": "vqa", "split": "val", "scores": {"accuracy": 61.2}}
"""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any

LOG_NAME = "log.jsonl"


class RunLog:
    """Appends to `folder`/log.jsonl. Opened at `cycle` it first forgets what a stopped run wrote after it."""

    def __init__(self, folder: Path, *, start_cycle: int = 0):
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / LOG_NAME
        kept = [line for line in read_log(folder) if line["cycle"] < start_cycle]
        self.path.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        self._file = self.path.open("a", encoding="utf-8")

    def write(self, kind: str, **values: Any) -> None:
        self._file.write(json.dumps({"kind": kind, **values}) + "\n")
        self._file.flush()

    def __enter__(self) -> RunLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The whole lines of a training's log; a last line cut short by a kill is left out."""
    path = folder / LOG_NAME
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    return [json.loads(line) for line in lines if line.endswith("}")]
