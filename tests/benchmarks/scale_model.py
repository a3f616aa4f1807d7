"""The models of docs/scale.md, fitted to runs with one worker, and what they say of runs with more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Extraction:
    """Seconds of the parts of an extraction on a cluster.

    cluster: until it stands. start: a worker until its first picture. picture: p, with its merging. shard: t.
    """

    cluster: float
    start: float
    picture: float
    shard: float

    def processor(self, num_workers: int, num_pictures: int, num_shards: int) -> float:
        """Processor seconds of all processes together."""
        work = num_pictures * self.picture + num_shards * self.shard
        return self.cluster + num_workers * self.start + work

    def wall(self, num_workers: int, num_pictures: int, num_shards: int, *, num_cores: int) -> float:
        """Seconds on the clock: workers beyond the cores wait for each other; the last shard ends alone."""
        at_once = min(num_workers, num_cores)
        work = num_pictures * self.picture + num_shards * self.shard
        last = (1 - 1 / at_once) * num_pictures / num_shards * self.picture
        return self.cluster + num_workers / at_once * self.start + work / at_once + last

    def __str__(self) -> str:
        return (
            f"cluster {self.cluster:.1f} s, start {self.start:.1f} s, a picture {1000 * self.picture:.1f} ms, "
            f"a shard {1000 * self.shard:.1f} ms"
        )


@dataclass(frozen=True)
class Run:
    """What one worker took for so many pictures in so many shards, seconds."""

    seconds: float
    num_pictures: int
    num_shards: int


def fit(cluster: float, few: Run, all_: Run, fine: Run) -> Extraction:
    """The parts from an empty cluster and three runs of one worker.

    few: part of the pictures; all_: all of them; fine: all of them in more shards. Noise may make a part negative.
    """
    shard = (fine.seconds - all_.seconds) / (fine.num_shards - all_.num_shards)
    more = all_.seconds - few.seconds - (all_.num_shards - few.num_shards) * shard
    picture = more / (all_.num_pictures - few.num_pictures)
    start = all_.seconds - cluster - all_.num_pictures * picture - all_.num_shards * shard
    return Extraction(cluster, start, picture, shard)


def update_of(num_processes: int, alone: float, two: float) -> float:
    """Processor seconds of an update in so many processes, c + K b, from those in one and in two."""
    whole = two - alone  # b: what every process does whole
    return alone - whole + num_processes * whole


def table(rows: Sequence[tuple[object, ...]]) -> str:
    """Rows as a Markdown table, the first one its head; of a pair of numbers, (measured, predicted), how far apart."""
    lines = [[_cell(value) for value in row] for row in rows]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(value: object) -> str:
    if not isinstance(value, tuple):
        return str(value)
    measured, predicted = value
    return f"{measured:.1f} s, {predicted:.1f} s ({100 * (predicted / measured - 1):+.0f} %)"
