"""TensorBoard's curves, drawn from the lines of the log: `tensorboard --logdir <folder>`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

CURVES_FOLDER = "tensorboard"
_MEASURED = ("loss", "learning_rate", "gradient_norm", "examples_per_second", "waiting")


class Curves:
    """Writes each line's numbers as points. A new one forgets the files that were there: give it every line kept."""

    def __init__(self, folder: Path):
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        place = folder / CURVES_FOLDER
        shutil.rmtree(place, ignore_errors=True)
        self._writer = EventFileWriter(str(place))

    def add(self, line: Mapping[str, Any]) -> None:
        """The points of one line of the log."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in points(line)]
        if values:
            event = Event(wall_time=line.get("time", 0.0), step=line["update"], summary=Summary(value=values))
            self._writer.add_event(event)

    def close(self) -> None:
        self._writer.close()


def points(line: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """(tag, value) of what a line says: loss/vqa, waiting/vqa, …, at_rest/vqa, val/vqa/accuracy."""
    if line["kind"] == "loss":
        yield from ((f"{name}/{line['task']}", float(line[name])) for name in _MEASURED if name in line)
    elif line["kind"] == "stop_and_go":
        yield f"at_rest/{line['task']}", float(line["is_at_rest"])
    elif line["kind"] == "scores":
        yield from ((f"{line['split']}/{line['task']}/{name}", float(v)) for name, v in line["scores"].items())
