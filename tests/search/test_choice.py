"""The choice and what it is worth, worked by hand; the plan file and the preset."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.search.miniature_search import searched_config
from vltool.errors import ConfigError, TrainingError
from vltool.search.choice import choose
from vltool.search.grid import Cell
from vltool.search.plan import as_chosen, load_chosen, load_plan, save_plan
from vltool.search.preset import write_preset
from vltool.search.trials import Trial, TrialResult
from vltool.structures import TaskPlan


def result(
    task: str, level: int, score: float, *, seed: int = 0, rung: int = 0, error: str = "", rate: str = ""
) -> TrialResult:
    settings = (("training.learning_rate", rate),) if rate else ()
    cell = Cell(TaskPlan(task, level, 10, 8, 5), settings)
    trial = Trial(cell, seed, f"search/{task}/{cell.name}-{seed}")
    return TrialResult(trial, rung, 10, "accuracy", {} if error else {"accuracy": score}, 1.0, error)


def test_the_best_validation_score_wins_and_equals_go_to_the_lowest_level() -> None:
    results = [result("vqa", 3, 50.0), result("vqa", 2, 50.0), result("vqa", 1, 49.0), result("grounding", 1, 10.0)]
    chosen = choose(results, ["vqa", "grounding"])
    assert chosen["vqa"].best.cell.plan.level == 2
    assert chosen["grounding"].best.cell.plan.level == 1 and chosen["grounding"].margin is None


def test_a_cell_is_the_mean_over_its_seeds_and_the_margin_is_held_against_their_spread() -> None:
    first = [result("vqa", 1, score, seed=seed) for seed, score in enumerate((60.0, 64.0))]  # mean 62, variance 8
    second = [result("vqa", 2, score, seed=seed) for seed, score in enumerate((61.0, 61.0))]  # mean 61, variance 0
    chosen = choose([*second, *first], ["vqa"], num_seeds=2)["vqa"]
    assert (chosen.best.cell.plan.level, chosen.margin, chosen.spread) == (1, 1.0, 2.0)  # sqrt((8 + 0) / 2)
    assert chosen.exceeds_spread is False
    far = [result("vqa", 3, score, seed=seed) for seed, score in enumerate((70.0, 70.0))]
    assert choose([*first, *far], ["vqa"], num_seeds=2)["vqa"].exceeds_spread is True


def test_a_single_seed_says_nothing_of_spread() -> None:
    assert choose([result("vqa", 1, 60.0), result("vqa", 2, 61.0)], ["vqa"])["vqa"].exceeds_spread is None


def test_who_went_further_wins_and_is_compared_where_both_have_been() -> None:
    results = [result("vqa", 1, 30.0), result("vqa", 2, 29.0), result("vqa", 2, 28.0, rung=1)]
    chosen = choose(results, ["vqa"])["vqa"]
    assert (chosen.best.cell.plan.level, chosen.rung, chosen.margin) == (2, 0, -1.0)


def test_a_cell_with_a_failed_seed_is_passed_over_but_not_if_none_is_left() -> None:
    broke = result("vqa", 1, 0, seed=1, error="broke")
    results = [result("vqa", 1, 99.0), broke, result("vqa", 2, 1.0), result("vqa", 2, 1.0, seed=1)]
    assert choose(results, ["vqa"], num_seeds=2)["vqa"].best.cell.plan.level == 2
    with pytest.raises(TrainingError, match="no cell of vqa is without a failed trial, the first failed with: broke"):
        choose([broke], ["vqa"])


def test_a_budget_too_small_for_any_cell_is_said() -> None:
    with pytest.raises(TrainingError, match=r"no cell of vqa was finished within search.budget. Run it again"):
        choose([result("vqa", 1, 5.0)], ["vqa"], num_seeds=2)


SHARED = {"answers": ("vqa", "vg_qa")}


def test_tasks_that_share_a_decoder_get_the_level_at_which_they_lose_least() -> None:
    vqa = [result("vqa", level, score) for level, score in ((1, 40.0), (2, 48.0), (3, 50.0))]  # lost: 20, 4, 0 %
    vg_qa = [result("vg_qa", level, score) for level, score in ((1, 10.0), (2, 9.8), (3, 8.0))]  # lost: 0, 2, 20 %
    alone = result("grounding", 3, 1.0)
    chosen = choose([*vqa, *vg_qa, alone], ["vqa", "vg_qa", "grounding"], shared_decoders=SHARED)
    assert [chosen[task].best.cell.plan.level for task in ("vqa", "vg_qa", "grounding")] == [2, 2, 3]
    for task, level, margin in (("vqa", 3, -2.0), ("vg_qa", 1, -0.2)):
        given_up, runner_up = chosen[task].alone, chosen[task].runner_up
        assert given_up is not None and given_up is runner_up and given_up.cell.plan.level == level
        assert chosen[task].margin == pytest.approx(margin)
    assert chosen["grounding"].alone is None
    apart = choose([*vqa, *vg_qa], ["vqa", "vg_qa"])
    assert [apart[task].best.cell.plan.level for task in ("vqa", "vg_qa")] == [3, 1]
    one = choose(vqa, ["vqa"], shared_decoders=SHARED)["vqa"]  # the other is not searched now
    assert one.best.cell.plan.level == 3 and one.alone is None


def test_sharers_take_a_level_at_which_none_of_them_was_pruned_if_there_is_one() -> None:
    vqa = [result("vqa", level, 50.0 - level) for level in (1, 2, 3)] + [result("vqa", 1, 60.0, rung=1)]
    vg_qa = [result("vg_qa", 1, 1.0), result("vg_qa", 2, 9.0), result("vg_qa", 2, 9.5, rung=1)]
    vg_qa += [result("vg_qa", 1, 1.5, rung=1)]
    chosen = choose([*vqa, *vg_qa], ["vqa", "vg_qa"], shared_decoders=SHARED)
    assert [chosen[task].best.cell.plan.level for task in SHARED["answers"]] == [1, 1]
    assert chosen["vqa"].alone is None and chosen["vg_qa"].margin == -8.0


def test_sharers_without_a_level_that_all_have_finished_are_named() -> None:
    results = [result("vqa", 1, 1.0), result("vqa", 2, 0, error="broke"), result("vg_qa", 2, 1.0)]
    with pytest.raises(TrainingError, match=r"decoder 'answers' is shared by vqa, vg_qa, and no level is without"):
        choose(results, ["vqa", "vg_qa"], shared_decoders=SHARED)


def test_a_plan_file_is_read_back_and_says_what_it_lacks(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    save_plan(path, choose([result("vqa", 2, 50.0), result("vqa", 1, 49.5)], ["vqa"]))
    assert load_plan(path, ["vqa"]) == (TaskPlan("vqa", 2, 10, 8, 5),)
    chosen = load_chosen(path)["vqa"]
    assert (chosen["runner_up"], chosen["margin"], chosen["runner_up_cell"]) == (49.5, 0.5, "l1-b8-u10-s5")
    with pytest.raises(ConfigError, match="no plan for task 'grounding'; it has vqa"):
        load_plan(path, ["vqa", "grounding"])
    with pytest.raises(ConfigError, match="no plan file"):
        load_plan(tmp_path / "none.json", ["vqa"])
    path.write_text(json.dumps({"tasks": [{"task": "vqa"}]}))
    with pytest.raises(ConfigError, match="not a plan file"):
        load_plan(path, ["vqa"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"level": 4}, "plan.json: level 4 of vqa: legal is 1 to 3, the encoder's levels"),
        ({"level": 0}, "plan.json: level of vqa is 0; legal is 1 or more"),
        ({"first_stage": -1}, "plan.json: first_stage of vqa is -1; legal is 0 or more"),
        ({"level": "two"}, r"plan.json: not a plan file \(tasks.0.level: Input should be a valid integer"),
        ({"levels": 2}, "plan.json: unknown key 'levels' in the plan of vqa .known here: task, level, num_updates"),
    ],
)
def test_a_plan_that_cannot_be_is_refused_with_its_file(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "plan.json"
    plan = {"task": "vqa", "level": 2, "num_updates": 10, "batch_size": 8, "step_size": 5} | change
    path.write_text(json.dumps({"tasks": [plan]}))
    with pytest.raises(ConfigError, match=message):
        load_plan(path, ["vqa"], num_levels=3)


def test_a_task_with_two_plans_is_refused(tmp_path: Path) -> None:
    plan = {"task": "vqa", "level": 2, "num_updates": 10, "batch_size": 8, "step_size": 5}
    (tmp_path / "plan.json").write_text(json.dumps({"tasks": [plan, {**plan, "level": 1}]}))
    with pytest.raises(ConfigError, match="has 2 plans of vqa: keep one of them"):
        load_plan(tmp_path / "plan.json", ["vqa"])


def test_a_later_search_of_one_task_keeps_the_plans_of_the_others(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    save_plan(path, choose([result("vqa", 2, 50.0), result("grounding", 1, 90.0)], ["vqa", "grounding"]))
    save_plan(path, choose([result("vqa", 3, 60.0)], ["vqa"]))
    assert [plan.level for plan in load_plan(path, ["vqa", "grounding"])] == [3, 1]
    assert set(load_chosen(path)) == {"vqa", "grounding"}


def test_a_joint_training_takes_a_searched_value_where_its_tasks_agree_and_says_where_not(tmp_path: Path) -> None:
    config = searched_config(tmp_path)
    said: list[str] = []

    def joint_rate(grounding: str) -> float:
        results = [result("vqa", 1, 50.0, rate="0.005"), result("grounding", 1, 50.0, rate=grounding)]
        save_plan(Path(config.training.plan), choose(results, ["vqa", "grounding"]))
        return as_chosen(config, ["vqa", "grounding"], say=said.append).training.learning_rate

    assert joint_rate("0.005") == 0.005
    assert joint_rate("0.002") == config.training.learning_rate
    assert said[0] == "training.learning_rate 0.005, as the search chose"
    assert "stays the run's own" in said[1] and "vqa 0.005, grounding 0.002" in said[1]


def test_the_preset_writes_the_papers_levels_and_says_whose_the_other_values_are(tmp_path: Path) -> None:
    config = searched_config(tmp_path)
    deep = with_levels(config, 5)
    said: list[str] = []
    tasks = ["caption_retrieval", "vqa", "grounding"]
    assert write_preset(deep, tasks, say=said.append, dry_run=False)["levels"] == {
        "caption_retrieval": 3,
        "vqa": 5,
        "grounding": 2,
    }
    assert [plan.level for plan in load_plan(deep.training.plan, tasks)] == [3, 5, 2]
    assert "level 5 is the paper's (section 5.2); ours, not searched: num_updates" in said[1]
    assert json.loads(Path(deep.training.plan).read_text())["chosen"]["vqa"]["ours"] == [
        "num_updates",
        "batch_size",
        "step_size",
    ]
    assert load_chosen(deep.training.plan) == {}  # there is no single-task model to score
    with pytest.raises(ConfigError, match="vqa reads level 5; legal is 1 to 3, the encoder's levels"):
        write_preset(config, tasks, say=said.append, dry_run=False)


def with_levels(config, num_levels: int):  # type: ignore[no-untyped-def]
    from dataclasses import replace

    options = {**config.encoder.options, "num_levels": num_levels}
    return replace(config, encoder=replace(config.encoder, options=options))
