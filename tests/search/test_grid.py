"""Grids: every combination, a task's own lists, other values of a training, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from tests.search.miniature_search import GRID, searched_config
from vltool.errors import ConfigError
from vltool.search.grid import task_grid, with_settings
from vltool.search.task_search import list_trials


def cells(grid: dict[str, Any], **search: Any) -> list[str]:
    config = searched_config("nowhere", grid={**GRID, **grid}, **search)
    return [cell.name for cell in task_grid(config, "vqa", num_levels=3)]


def test_a_grid_is_every_combination_and_a_task_may_replace_lists() -> None:
    assert cells({"level": [1, 3], "num_updates": [6, 12]}) == [
        "l1-b4-u6-s24",
        "l1-b4-u12-s24",
        "l3-b4-u6-s24",
        "l3-b4-u12-s24",
    ]
    assert cells({"num_updates": [6, 12]}, tasks={"vqa": {"level": [2], "num_updates": [9]}}) == ["l2-b4-u9-s24"]


def test_without_levels_all_are_tried() -> None:
    grid = {name: values for name, values in GRID.items() if name != "level"}
    found = task_grid(searched_config("nowhere", grid=grid), "vqa", num_levels=3)
    assert [cell.plan.level for cell in found] == [1, 2, 3]


def test_any_other_value_of_a_training_may_be_searched() -> None:
    settings = {"training.learning_rate": [0.001, 0.01], "encoder.options.num_maps": [2, 4]}
    config = searched_config("nowhere", grid={**GRID, "level": [1], "set": settings})
    found = task_grid(config, "vqa", num_levels=3)
    assert [cell.name for cell in found][1] == "l1-b4-u36-s24-learning_rate=0.001-num_maps=4"
    changed = with_settings(config, found[3].settings)
    assert (changed.training.learning_rate, changed.encoder.options["num_maps"]) == (0.01, 4)
    assert changed.tasks == config.tasks


def test_set_may_be_nested_as_overrides_make_it() -> None:
    assert len(cells({"level": [1], "set": {"training": {"decay": [0.5, 0.9]}}})) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"level": [0]}, r"search.grid.level \(task vqa\) holds 0; legal is 1 to 3, the encoder's levels"),
        ({"level": [4]}, "holds 4; legal is 1 to 3"),
        ({"level": []}, "level .* is empty: list at least one value, 1 to 3.*without the key every level is tried"),
        ({"batch_size": []}, r"batch_size \(task vqa\) is empty: list at least one value, 1 or more"),
        ({"num_updates": [-1]}, "num_updates .* holds -1; legal is 1 or more"),
        ({"step_size": None}, "step_size .* is missing: list at least one value"),
        ({"set": {"training.learning_rat": [1]}}, "not a key that a trial can set; legal are training.learning_rate"),
        (
            {"set": {"encoder.options.num_maps": [2, 3]}},
            "holds encoder.options.num_maps=3: .*cannot be cut into num_maps",
        ),
        ({"set": {"encoder.options.num_memory_slots": [-1]}}, "num_memory_slots is -1: it must be 0 or more"),
        ({"level": [True]}, "search.grid.level.0.: Input should be a valid integer .found True"),
        ({"set": {"training.plan": ["x"]}}, "training.plan .*: not a key that a trial can set"),
        ({"set": {"training.learning_rate": []}}, "give a list of at least one value"),
        ({"set": {"training.learning_rate": ["much"]}}, "'training.learning_rate'"),
        ({"set": {"encoder.options.num_maps": ["many"]}}, "encoder.options: num_maps"),
    ],
)
def test_impossible_grids_are_refused_before_anything_runs(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        cells(change)


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ({"seeds": []}, r"search.seeds is \[\]: name different whole numbers from 0 up"),
        ({"seeds": [1, 1]}, r"search.seeds is \[1, 1\]"),
        ({"strategy": "halving", "halving": {"factor": 1}}, "search.halving.factor is 1; legal is 2 or more"),
        ({"strategy": "halving", "halving": {"rungs": 1}}, "search.halving.rungs is 1; legal is 2 or more"),
        (
            {"strategy": "halving", "halving": {"rungs": 4}},
            "rungs is 4: in cycles of 6, vqa l1-b4-u36-s24 would be compared after 6, 6, 12, 36 updates",
        ),
        ({"seeds": [2**40]}, r"'search.seeds.0': Input should be less than 4294967296"),
        ({"budget": {"trials": 3}, "seeds": [0, 1]}, "search.budget.trials is 3; legal is 0 .* or 4 and more"),
        ({"budget": {"hours": -1}}, r"search\.budget\.hours"),
    ],
)
def test_impossible_searches_are_refused_before_anything_runs(search: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        list_trials(searched_config("nowhere", **search), ["vqa", "grounding"])


def test_a_budget_in_trials_draws_the_same_cells_each_time_with_all_their_seeds() -> None:
    config = searched_config("nowhere", budget={"trials": 9}, seeds=[0, 1], grid={**GRID, "num_updates": [6, 12, 18]})
    drawn = list_trials(config, ["vqa", "grounding"])
    assert {task: len(own) for task, own in drawn.items()} == {"vqa": 4, "grounding": 4}
    assert drawn == list_trials(config, ["vqa", "grounding"])
    assert all([trial.seed for trial in own] == [0, 1] * 2 for own in drawn.values())


def test_folders_of_other_seeds_are_other_folders() -> None:
    config = searched_config("nowhere", grid={**GRID, "level": [1]}, seeds=[0, 7])
    assert [trial.name for trial in list_trials(config, ["vqa"])["vqa"]] == ["l1-b4-u36-s24", "l1-b4-u36-s24-seed7"]
