"""The model of an extraction gives back what it is made of, and a table worked by hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.benchmarks import scale
from tests.benchmarks.scale_model import Extraction, Run, fit, table, update_of
from vltool.features.shards import num_shards


def test_the_parts_are_found_again_in_runs_of_one_worker() -> None:
    parts = Extraction(cluster=3.0, start=4.0, picture=0.06, shard=0.02)
    sizes = ((50, 4), (200, 4), (200, 25))
    few, all_, fine = (Run(parts.processor(1, *size), *size) for size in sizes)
    found = fit(3.0, few, all_, fine)
    assert (found.start, found.picture, found.shard) == pytest.approx((4.0, 0.06, 0.02))


def test_the_prediction_worked_by_hand() -> None:
    parts = Extraction(cluster=3.0, start=4.0, picture=0.06, shard=0.02)
    # 200 pictures 12 s, 8 shards 0.16 s; the last shard is 25 pictures, 1.5 s, of which half is beside the others
    assert parts.processor(2, 200, 8) == pytest.approx(3 + 8 + 12.16)
    assert parts.wall(2, 200, 8, num_cores=2) == pytest.approx(3 + 4 + 6.08 + 0.75)
    # four workers on two cores: they start two by two
    assert parts.wall(4, 200, 16, num_cores=2) == pytest.approx(3 + 8 + 6.16 + 0.375)
    assert parts.wall(1, 200, 4, num_cores=2) == parts.processor(1, 200, 4)


def test_an_update_in_four_processes_from_those_in_one_and_two() -> None:
    assert update_of(4, alone=10.0, two=12.0) == 16.0  # c = 8, b = 2


def test_measured_and_predicted_stand_side_by_side() -> None:
    assert table([("W", "processor"), (1, (20.0, 22.0))]) == (
        "| W | processor |\n| --- | --- |\n| 1 | 20.0 s, 22.0 s (+10 %) |"
    )


def test_the_benchmark_fits_and_predicts_what_follows_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = Extraction(cluster=3.0, start=4.0, picture=0.06, shard=0.02)
    open_blocks: list[scale.Spent] = []

    @contextmanager
    def measured() -> Iterator[scale.Spent]:
        open_blocks.append(scale.Spent(wall=3.0, processor=3.0))  # of a cluster without work
        yield open_blocks[-1]

    def extract(pictures: list[str], store: Path, *, workers: int, **rest: object) -> SimpleNamespace:
        size = (workers, len(pictures), num_shards(len(pictures), workers))
        spent = open_blocks[-1]
        spent.processor, spent.wall = parts.processor(*size), parts.wall(*size, num_cores=2)
        return SimpleNamespace(stored=len(pictures))

    monkeypatch.setattr(scale, "measured", measured)
    monkeypatch.setattr(scale, "extract", extract)
    monkeypatch.setattr(scale, "load_detector", lambda **options: None)
    monkeypatch.setattr(scale, "cluster", lambda address, num_cpus: nullcontext())
    monkeypatch.setattr(scale, "num_cores", lambda: 2)
    scale.benchmark_extraction(tmp_path, 64)
    printed = capsys.readouterr().out
    assert "model, processor time: cluster 3.0 s, start 4.0 s, a picture 60.0 ms, a shard 20.0 ms" in printed
    assert "| 4 | 8 | 23.0 s, 23.0 s (+0 %) | " in printed and printed.count("(+0 %)") == 6
