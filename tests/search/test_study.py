"""A whole search on the miniature world: both strategies, what is repeated and what is not, failures, the tables."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest

from tests.search import miniature_search
from tests.search.miniature_search import GRID, Here, search_miniature, searched_config
from vltool.config import RunConfig
from vltool.errors import ConfigError, DataError
from vltool.search import estimate
from vltool.search.estimate import StepCost
from vltool.search.grid import Cell
from vltool.search.study import STUDY_NAME, Progress
from vltool.search.trials import Job, SearchStopped, TrialResult
from vltool.training import checkpoint
from vltool.training.run import RunInputs

QUICK = {"checkpoint_every": 100}
SMALL = {**GRID, "num_updates": [18], "step_size": [12]}
HALVING: dict[str, Any] = {"strategy": "halving", "halving": {"factor": 3, "rungs": 2}}


def trials_of(out: Path) -> pd.DataFrame:
    return pd.read_parquet(out / "search" / "trials.parquet")


def test_every_cell_is_trained_with_every_seed_and_the_tables_say_so(tmp_path: Path) -> None:
    found = search_miniature(searched_config(tmp_path, QUICK, grid=SMALL, seeds=[0, 1]), Here(), tasks=["grounding"])
    table = trials_of(tmp_path)
    assert len(table) == 6 and set(table["state"]) == {"chosen", "finished"}
    assert (table["state"] == "chosen").sum() == 2
    means = table.groupby("level")["score"].mean()
    assert found["chosen"]["grounding"]["score"] == means.max() == means[found["levels"]["grounding"]]
    assert pd.read_csv(tmp_path / "search" / "trials.csv").shape == table.shape
    assert table["level"].dtype == "int64" and table["score"].dtype == "float64"


def test_a_finished_search_trains_nothing_again(tmp_path: Path) -> None:
    config = searched_config(tmp_path, QUICK, grid=SMALL)
    first = search_miniature(config, Here())
    engine = Here()
    assert search_miniature(config, engine)["chosen"] == first["chosen"]
    assert engine.jobs == []


def test_what_is_on_disk_counts_even_when_the_records_are_lost(tmp_path: Path) -> None:
    config = searched_config(tmp_path, QUICK, grid=SMALL, **HALVING)
    first = search_miniature(config, Here(), tasks=["grounding"])
    (tmp_path / "search" / "study.sqlite").unlink()
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("model.safetensors")}
    assert search_miniature(config, Here(), tasks=["grounding"])["chosen"] == first["chosen"]
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("model.safetensors")} == stamps


def test_halving_prunes_by_rung_and_its_winner_is_the_full_training_bit_for_bit(tmp_path: Path) -> None:
    halved = search_miniature(
        searched_config(tmp_path / "a", QUICK, grid=SMALL, **HALVING), Here(), tasks=["grounding"]
    )
    whole = search_miniature(searched_config(tmp_path / "b", QUICK, grid=SMALL), Here(), tasks=["grounding"])
    table = trials_of(tmp_path / "a")
    assert sorted(table["state"]) == ["chosen", "pruned", "pruned"]
    assert sorted(table["trained_updates"]) == [6, 6, 18]
    assert (halved["trained_updates"], whole["trained_updates"]) == (30, 54)
    won = Path(halved["chosen"]["grounding"]["folder"])
    ours, theirs = (
        checkpoint.load(tmp_path / side / "search" / "grounding" / won.name / "checkpoint").tensors() for side in "ab"
    )
    assert all(ours[name].equal(theirs[name]) for name in theirs)


def test_the_full_grid_goes_on_from_what_halving_trained(tmp_path: Path) -> None:
    search_miniature(searched_config(tmp_path, QUICK, grid=SMALL, **HALVING), Here(), tasks=["grounding"])
    resumed: list[Any] = []
    found = search_miniature(
        searched_config(tmp_path, QUICK, grid=SMALL), Here(), tasks=["grounding"], say=resumed.append
    )
    assert found["trained_updates"] == 54
    logs = [path.read_text().splitlines() for path in tmp_path.glob("search/grounding/*/log.jsonl")]
    scored = [sum(json.loads(line)["kind"] == "scores" for line in lines) for lines in logs]
    assert scored == [2, 2, 2]  # after 6 and after 18 updates, in one log


def test_halving_after_the_full_grid_disturbs_nothing(tmp_path: Path) -> None:
    whole = search_miniature(searched_config(tmp_path, QUICK, grid=SMALL), Here(), tasks=["grounding"])
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.glob("search/grounding/*/result.json")}
    halved = search_miniature(searched_config(tmp_path, QUICK, grid=SMALL, **HALVING), Here(), tasks=["grounding"])
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert set(halved["levels"]) == set(whole["levels"])


def test_the_records_are_an_optuna_study(tmp_path: Path) -> None:
    search_miniature(searched_config(tmp_path, QUICK, grid=SMALL, **HALVING), Here(), tasks=["grounding"])
    path = f"sqlite:///{tmp_path / 'search' / 'study.sqlite'}"
    (name,) = optuna.study.get_all_study_names(path)
    study = optuna.load_study(study_name=name, storage=path)
    assert sorted(trial.state.name for trial in study.trials) == ["COMPLETE", "PRUNED", "PRUNED"]
    assert [trial.params["level"] for trial in study.trials] == [1, 2, 3]


def test_a_failed_trial_is_recorded_the_search_goes_on_and_a_second_run_tries_it_again(tmp_path: Path) -> None:
    config = searched_config(tmp_path, QUICK, grid=SMALL)
    broken = Here(lambda job: DataError("no picture") if job.trial.cell.plan.level == 2 else None)
    assert search_miniature(config, broken, tasks=["grounding"])["failed"] == 1
    table = trials_of(tmp_path)
    assert table.set_index("level")["error"].to_dict() == {1: "", 2: "no picture", 3: ""}
    mended = Here()
    assert search_miniature(config, mended, tasks=["grounding"])["failed"] == 0
    assert [job.trial.cell.plan.level for job in mended.jobs] == [2]


class Scored(Here):
    """An engine whose trials train nothing: their scores grow with level and batch."""

    def run(self, function: Any, jobs: Any) -> Iterator[Any]:
        def score(job: Job) -> TrialResult:
            plan = job.plan
            score = 10.0 * plan.level + plan.batch_size
            return TrialResult(job.trial, job.rung, plan.num_updates, "recall@1", {"recall@1": score}, 0.0)

        return super().run(score, jobs)


def test_a_pruned_trial_goes_on_when_one_that_failed_comes_back_and_makes_room(tmp_path: Path) -> None:
    config = searched_config(tmp_path, grid={**SMALL, "level": [1, 2], "batch_size": [3, 4]}, **HALVING)
    worst_fails = Scored(lambda job: DataError("no") if job.trial.name == "l1-b3-u18-s12" else None)
    search_miniature(config, worst_fails, tasks=["grounding"])  # of three cells one goes on
    assert (trials_of(tmp_path)["trained_updates"] == 18).sum() == 1
    mended = Scored()
    search_miniature(config, mended, tasks=["grounding"])  # of four two
    assert [(job.trial.name, job.rung) for job in mended.jobs] == [("l1-b3-u18-s12", 0), ("l2-b3-u18-s12", 1)]
    table = trials_of(tmp_path)
    assert sorted(table["state"]) == ["chosen", "finished", "pruned", "pruned"]
    assert table[table["state"] == "chosen"]["batch_size"].tolist() == [4]


def test_a_bug_in_a_trial_is_raised_after_the_others_are_done(tmp_path: Path) -> None:
    engine = Here(lambda job: ZeroDivisionError("ours") if job.trial.cell.plan.level == 2 else None)
    with pytest.raises(ZeroDivisionError):
        search_miniature(searched_config(tmp_path, QUICK, grid=SMALL), engine, tasks=["grounding"])
    assert trials_of(tmp_path).set_index("level")["error"][2] == "ZeroDivisionError: ours"
    assert (tmp_path / "plan.json").exists()


def test_a_damaged_record_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / "study.sqlite").write_bytes(b"no database " * 100)
    with pytest.raises(DataError, match=r"study.sqlite: cannot be read as the state of a search.*Remove it"):
        search_miniature(searched_config(tmp_path, grid=SMALL), Here(), tasks=["grounding"])


def test_a_batch_larger_than_the_data_is_refused_before_anything_runs(tmp_path: Path) -> None:
    config = searched_config(tmp_path, grid={**SMALL, "batch_size": [4, 1000]})
    with pytest.raises(ConfigError, match=r"batch_size \(task vqa\) holds 1000; legal is 1 to 24, the task's training"):
        search_miniature(config, Here())
    assert not (tmp_path / "search").exists()


def sharing(config: RunConfig) -> RunConfig:
    tasks = {name: replace(config.tasks[name], decoder="matching") for name in ("caption_retrieval", "alignment")}
    return replace(config, tasks={**config.tasks, **tasks})


def test_a_search_gives_tasks_that_share_a_decoder_one_level_and_says_who_gave_up_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    best = {"caption_retrieval": {1: 300.0, 2: 290.0, 3: 100.0}, "alignment": {1: 20.0, 2: 48.0, 3: 50.0}}

    def scored(job: Job) -> TrialResult:
        score = best[job.trial.task][job.trial.cell.plan.level]
        return TrialResult(job.trial, job.rung, 18, "accuracy", {"accuracy": score}, 1.0)

    monkeypatch.setattr(miniature_search, "run_miniature_job", scored)
    config = sharing(searched_config(tmp_path, QUICK, grid=SMALL))
    said: list[str] = []
    found = search_miniature(config, Here(), tasks=["caption_retrieval", "alignment"], say=said.append)
    assert found["levels"] == {"caption_retrieval": 2, "alignment": 2}
    (told,) = (text for text in said if text.startswith("alignment: level 2 with those"))
    assert "share its decoder 'matching'; alone it would have chosen l3-b4-u18-s12" in told
    assert not any("will refuse" in text for text in said)
    best["alignment"][3] = 90.0
    shutil.rmtree(tmp_path / "search")
    found = search_miniature(config, Here(), tasks=["alignment"], say=said.append)
    assert found["levels"] == {"caption_retrieval": 2, "alignment": 3}
    assert "train-joint will refuse this plan: decoder 'matching'" in said[-1] and "search them in one call" in said[-1]


def test_tasks_that_share_a_decoder_and_have_no_level_in_common_are_refused_before_anything_runs(
    tmp_path: Path,
) -> None:
    own = {"alignment": {"level": [3]}, "caption_retrieval": {"level": [1, 2]}}
    config = sharing(searched_config(tmp_path, grid=SMALL, tasks=own))
    message = r"decoder 'matching' .* no level of the search in common: caption_retrieval 1, 2, alignment 3"
    with pytest.raises(ConfigError, match=message):
        search_miniature(config, Here(), tasks=["caption_retrieval", "alignment"])
    assert not (tmp_path / "search").exists()


def test_a_dry_run_says_how_many_and_how_long_and_leaves_nothing(tmp_path: Path) -> None:
    said: list[str] = []
    engine = Here()
    config = searched_config(tmp_path, grid=SMALL, seeds=[0, 1])
    found = search_miniature(config, engine, say=said.append, dry_run=True)
    assert (found["trials"], found["updates"], engine.jobs) == (12, 216, [])
    assert found["seconds_estimated"] > 0
    assert said[0] == "12 trials of 2 tasks, 216 updates" and "an update measured: vqa" in said[1]
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_beside_a_search_changes_nothing_of_it(tmp_path: Path) -> None:
    config = searched_config(tmp_path, QUICK, grid=SMALL)
    search_miniature(config, Here(), tasks=["grounding"])

    def everything() -> dict[Path, tuple[int, bytes]]:
        return {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in tmp_path.rglob("*") if p.is_file()}

    before, said = everything(), list[str]()
    search_miniature(config, Here(), tasks=["grounding"], say=said.append, dry_run=True)
    assert "3 trials have begun before" in said[0]
    wider = searched_config(tmp_path, QUICK, grid={**SMALL, "batch_size": [2, 3]})
    found = search_miniature(wider, Here(), dry_run=True)
    assert found["trials"] == 12 and everything() == before


def test_a_dry_run_beside_a_search_that_was_killed_while_it_wrote_reads_what_was_whole(tmp_path: Path) -> None:
    config = searched_config(tmp_path, QUICK, grid=SMALL)
    search_miniature(config, Here(), tasks=["grounding"])
    path = tmp_path / "search" / STUDY_NAME
    code = (
        "import os, sqlite3, sys; own = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "own.execute('pragma cache_size = 1'); own.execute('begin immediate')\n"
        "own.execute('create table half (text)')\n"
        "own.executemany('insert into half values (?)', [('x' * 900,)] * 200); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    journal = path.with_name(f"{path.name}-journal")
    before, said = (path.read_bytes(), journal.read_bytes()), list[str]()
    search_miniature(config, Here(), tasks=["grounding"], say=said.append, dry_run=True)
    assert "3 trials have begun before" in said[0]
    assert (path.read_bytes(), journal.read_bytes()) == before


def test_the_estimate_measures_every_network_of_the_grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(inputs: RunInputs, cells: Sequence[Cell], *, num_threads: int) -> StepCost:
        width = inputs.config.encoder.options["width"]
        assert all(dict(cell.settings)["encoder.options.width"] == str(width) for cell in cells)
        measured.append((width, len(cells)))
        return StepCost(4, 3, width / 1000, 0.0)

    measured: list[tuple[int, int]] = []
    monkeypatch.setattr(estimate, "measure_steps", measure)
    rates = {"training.learning_rate": [0.001, 0.0005]}
    said: list[str] = []

    def dry(widths: list[int]) -> float:
        own: dict[str, Any] = {"level": [1], "batch_size": [4], "num_updates": [10], "step_size": [4]}
        grid = {**own, "set": {"encoder.options.width": widths, **rates}}
        found = search_miniature(
            searched_config(tmp_path, QUICK, grid=grid), Here(), tasks=["vqa"], say=said.append, dry_run=True
        )
        return float(found["seconds_estimated"])

    assert dry([8, 24]) == pytest.approx(2 * 10 * (0.008 + 0.024))
    assert measured == [(8, 2), (24, 2)]
    assert "vqa 8 to 24 ms at level 3, by 2 settings of search.grid.set" in said[-1]
    monkeypatch.setattr(estimate, "MOST_MEASURED", 3)
    measured.clear()
    dry([8, 16, 24, 32, 40])
    assert [width for width, _ in measured] == [8, 24, 40]
    assert "by 3 settings of search.grid.set, the other 2 taken as the dearest" in said[-1]


def test_the_best_so_far_and_the_time_left_are_shown(tmp_path: Path) -> None:
    shown: list[Progress] = []
    config = searched_config(tmp_path, QUICK, grid=SMALL)
    found = search_miniature(config, Here(), tasks=["grounding"], show=shown.append)
    assert [(step.done, step.total) for step in shown] == [(1, 3), (2, 3), (3, 3)]
    left = [step.seconds_left for step in shown]
    assert left[0] is not None and left[0] > 0 and abs(left[-1] or 0.0) < 1e-6
    assert shown[-1].best[0][3] == found["chosen"]["grounding"]["score"]


def test_hours_that_are_over_stop_the_search_and_running_it_again_ends_in_the_same_plan(tmp_path: Path) -> None:
    config = searched_config(tmp_path / "a", QUICK, grid=SMALL)
    whole = search_miniature(config, Here(), tasks=["grounding"])
    stops = Here(lambda job: SearchStopped("over") if job.trial.cell.plan.level == 2 else None)
    part = search_miniature(searched_config(tmp_path / "b", QUICK, grid=SMALL), stops, tasks=["grounding"])
    assert part["unfinished"] == 1 and part["failed"] == 0
    assert trials_of(tmp_path / "b").set_index("level")["state"][2] == "not run"
    again = search_miniature(searched_config(tmp_path / "b", QUICK, grid=SMALL), Here(), tasks=["grounding"])
    assert again["levels"] == whole["levels"] and again["unfinished"] == 0


def test_a_training_stops_at_its_hour_and_keeps_its_checkpoint(tmp_path: Path) -> None:
    from tests.search.miniature_search import run_miniature_job
    from vltool.config import dump
    from vltool.search.task_search import list_trials

    config = searched_config(tmp_path, {"checkpoint_every": 1}, grid=SMALL)
    (trial, *_) = list_trials(config, ["grounding"])["grounding"]
    job = Job(trial, 0, 1.0, json.dumps(dump(config)), until=1.0)
    with pytest.raises(SearchStopped):
        run_miniature_job(job)
    shutil.rmtree(tmp_path)


def test_other_settings_of_a_cell_reach_its_training(tmp_path: Path) -> None:
    grid = {**SMALL, "level": [1], "set": {"training.learning_rate": [0.001, 0.02]}}
    found = search_miniature(searched_config(tmp_path, QUICK, grid=grid), Here(), tasks=["grounding"])
    table = trials_of(tmp_path)
    assert table["training.learning_rate"].tolist() == [0.001, 0.02]
    rates = [
        json.loads((Path(folder) / "result.json").read_text())["identity"]["training"]["learning_rate"]
        for folder in table["folder"]
    ]
    assert rates == [0.001, 0.02]
    assert found["chosen"]["grounding"]["settings"]["training.learning_rate"] in rates
