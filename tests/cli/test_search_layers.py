"""`vltool search-layers` as a user meets it: what it says before, the preset, refusals and exit code 3."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.test_commands import says, small_run, small_world, vltool

__all__ = ["small_world"]  # a fixture
GRID = {"grid": {"level": [1], "batch_size": [4], "num_updates": [6], "step_size": [4]}, "jobs": 1}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, small_world: Path) -> Path:
    """A run whose features and words are made."""
    folder = tmp_path_factory.mktemp("prepared")
    stages = ["world", "extract-features", "embed-text"]
    assert vltool("run", small_run(folder, small_world, stages=stages)).returncode == 0
    return small_run(folder, small_world, search=GRID)


def test_a_dry_run_counts_and_estimates_and_leaves_no_trial(prepared: Path) -> None:
    result = vltool("search-layers", prepared, "--dry-run", "--set", "search.seeds=[0,1]", "--json")
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert (found["trials"], found["outputs"]) == (6, []) and found["seconds_estimated"] > 0
    assert "6 trials of 3 tasks, 36 updates" in result.stderr and "an update measured" in result.stderr
    assert not (prepared.parent / "run" / "search").exists()


def test_the_preset_needs_no_features_and_says_what_is_ours(tmp_path: Path, small_world: Path) -> None:
    path = small_run(tmp_path, small_world)
    says(vltool("search-layers", path, "--preset", "paper"), "legal is 1 to 1", "encoder.options.num_levels=5")
    deep = ["--set", "encoder.options.num_levels=5"]
    result = vltool("search-layers", path, "--preset", "paper", *deep)
    assert result.returncode == 0, result.stderr
    assert "vqa: level 5 (published)" in result.stdout
    assert "ours, not searched: num_updates 45,000" in " ".join(result.stderr.split())


def test_an_address_without_its_engine_is_refused_and_local_needs_none(prepared: Path) -> None:
    says(vltool("search-layers", prepared, "--ray-address", "head:6379"), "--ray-address goes with --engine ray")
    cluster = ("--set", "search.engine=ray", "--set", "search.ray_address=head:6379")  # as in the file
    result = vltool("search-layers", prepared, *cluster, "--engine", "local", "--dry-run")
    assert result.returncode == 0, result.stderr


def test_a_batch_larger_than_the_data_is_refused_with_the_legal_range(prepared: Path) -> None:
    result = vltool("search-layers", prepared, "--set", "search.grid.batch_size=[100000]")
    says(result, "batch_size (task caption_retrieval) holds 100000; legal is 1 to")


def test_failed_trials_end_in_code_3_and_the_file_that_lists_them(prepared: Path) -> None:
    rates = "search.grid.set.training.learning_rate=[0.001,1.0e+30]"
    one = ("--task", "grounding", "--set", rates, "--set", "training.cycle_updates=1")
    result = vltool("search-layers", prepared, *one, "--json")
    assert result.returncode == 3, result.stderr
    found = json.loads(result.stdout)
    assert found["failed"] == 1
    assert "is nan" in Path(found["table"]).read_text() or "is inf" in Path(found["table"]).read_text()
    assert found["chosen"]["grounding"]["settings"] == {"training.learning_rate": 0.001}
    assert "1 trials failed; their errors are in" in " ".join(result.stderr.split())
