"""The numbers of the tables, from a run written by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from tests.report.sample_run import plan, sample_config, write, write_sample_run, write_training
from vltool.errors import DataError
from vltool.report import data_tables, search_tables, tables
from vltool.report.paper_tables import paper_tables
from vltool.report.run_files import RunFiles, read_run
from vltool.report.table import Table, best_places, written


@pytest.fixture
def files(tmp_path: Path) -> RunFiles:
    return read_run(write_sample_run(tmp_path))


def row(table: Table | str, **where: object) -> dict[str, object]:
    assert isinstance(table, Table)
    frame = table.frame
    for column, value in where.items():
        frame = frame[frame[column] == value]
    assert len(frame) == 1
    return dict(frame.iloc[0])


def bold_in(table: Table | str, place: int) -> set[str]:
    assert isinstance(table, Table)
    return {column for found, column in table.bold if found == place}


def test_summary_sets_single_joint_ignorance_and_bound_side_by_side(files: RunFiles) -> None:
    found = row(tables.summary(files), Metric="recall@1")
    assert found == {
        "Metric": "recall@1",
        "Single task": 55.0,
        "Joint": 54.0,
        "Difference": -1.0,
        "Chance": 12.0,
        "Most common answer": pytest.approx(float("nan"), nan_ok=True),
        "Question only": pytest.approx(float("nan"), nan_ok=True),
        "Upper bound": 90.0,
    }
    assert row(tables.summary(files), Metric="accuracy")["Question only"] == 45.0


def test_summary_groups_its_rows_by_task(files: RunFiles) -> None:
    table = tables.summary(files)
    assert isinstance(table, Table)
    assert table.groups == (("caption_retrieval", 3, False), ("vqa", 2, False), ("grounding", 3, False))
    assert "upper_bound" not in set(table.frame["Metric"])


def test_best_is_bold_and_ignorance_may_win(files: RunFiles) -> None:
    table = tables.summary(files)
    assert bold_in(table, 0) == {"Joint"}
    assert bold_in(table, 1) == {"Joint"}  # a median rank: the lower
    assert bold_in(table, 3) == {"Single task", "Joint"}  # 60.04 and 60.0 look the same
    assert bold_in(table, 4) == {"Joint", "Question only"}  # 81.0 and 81.04
    assert bold_in(table, 5) == {"Single task"}


def test_upper_bound_is_not_given_for_one_type_of_phrase(files: RunFiles) -> None:
    assert pd.isna(row(tables.summary(files), Metric="recall@1/scene")["Upper bound"])


def test_layout_of_table_1_takes_validation_scores_of_every_training(files: RunFiles) -> None:
    table = dict(paper_tables(files))["table-1"]
    own = table.frame.iloc[: table.groups[0][1]]
    assert list(own["Trained on"]) == ["single tasks", "vqa + grounding", "all tasks of the run"]
    assert own["VQA accuracy"].tolist() == [61.0, 60.0, 60.0]
    assert pd.isna(own["Retrieval R@1 image → text"].iloc[1])


def test_published_rows_are_told_apart(files: RunFiles) -> None:
    for _, table in paper_tables(files):
        heading, count, published = table.groups[1]
        assert published and "not comparable" in heading and count > 0
        assert all(place < table.groups[0][1] for place, _ in table.bold)


def test_layouts_are_left_out_for_tasks_that_the_run_has_not(tmp_path: Path) -> None:
    files = read_run(sample_config(tmp_path, ("grounding",)))
    assert [key for key, _ in paper_tables(files)] == ["table-1", "table-5"]


def test_margin_is_over_the_best_trial_at_another_level(files: RunFiles) -> None:
    found = row(search_tables.levels(files), Task="vqa")
    assert (found["Level"], found["Next best level"], found["its score"]) == (2, "3", 60.5)
    assert found["Margin"] == pytest.approx(0.5)
    assert found["Runner-up trial"] == 60.9
    assert found["Published level"] == 5


def test_trials_name_the_chosen_and_the_failed(files: RunFiles) -> None:
    table = search_tables.trials(files)
    assert isinstance(table, Table)
    assert table.frame["State"].tolist() == ["", "", "chosen", "failed: the loss is not finite", ""]
    assert {place for place, _ in table.bold} == {2}


def test_a_plan_written_by_hand_needs_no_trials(tmp_path: Path) -> None:
    config = sample_config(tmp_path)
    write(tmp_path / "plan.json", {"tasks": [{"task": "vqa", "level": 3}]})
    files = read_run(config)
    assert row(search_tables.levels(files), Task="vqa")["Score"] == "given by hand"
    assert "written by hand" in str(search_tables.trials(files))


def test_examples_and_contamination_are_counted(files: RunFiles) -> None:
    found = data_tables.examples(files)
    assert isinstance(found, Table) and found.frame["Contaminated"].tolist() == [2] * 6
    assert row(data_tables.contamination(files), **{"Trained on": "vqa"})["caption_retrieval/test"] == "2 (2)"
    assert data_tables.scored_clean(files)[0].endswith("0 scored pictures were trained on (protocol clean).")


def test_validation_scores_of_trained_pictures_are_marked(tmp_path: Path) -> None:
    config = write_sample_run(tmp_path)
    log = tmp_path / "training" / "joint" / "log.jsonl"
    text = log.read_text(encoding="utf-8").replace(
        '"split": "val", "task": "vqa"', '"split": "val", "contaminated": 7, "task": "vqa"'
    )
    log.write_text(text, encoding="utf-8")
    files = read_run(config)
    sentence = "Not clean: 7 pictures of vqa/val trained joint"
    assert sentence in dict(paper_tables(files))["table-1"].note
    assert sentence not in dict(paper_tables(files))["table-4"].note
    assert data_tables.scored_clean(files)[-1].startswith(sentence)


def test_missing_parts_are_sentences(tmp_path: Path) -> None:
    files = read_run(sample_config(tmp_path / "nothing"))
    parts = [
        tables.summary(files),
        search_tables.levels(files),
        search_tables.trials(files),
        data_tables.examples(files),
        data_tables.contamination(files),
        data_tables.store(files),
        data_tables.words(files),
        data_tables.trainings(files),
        data_tables.stages(files),
    ]
    assert all(isinstance(part, str) and part.endswith(".") for part in parts)


def test_damaged_file_is_named(files: RunFiles) -> None:
    path = files.config.out_dir / "counts.json"
    path.write_text('{"examples": [', encoding="utf-8")
    with pytest.raises(DataError, match=r"counts\.json: cannot be read"):
        read_run(files.config)


def test_foreign_result_is_named(files: RunFiles) -> None:
    folder = files.config.out_dir / "training" / "joint"
    (folder / "result.json").write_text(json.dumps({"identity": {}, "result": {}}), encoding="utf-8")
    with pytest.raises(DataError, match="not the result of a training"):
        read_run(files.config)


def test_unfinished_training_is_said_to_be(files: RunFiles) -> None:
    folder = files.config.out_dir / "training" / "joint"
    write_training(folder, {"vqa": 2}, {})
    (folder / "result.json").unlink()
    assert row(data_tables.trainings(read_run(files.config)), Training="joint")["State"] == "not finished"


def test_comparison_puts_runs_in_columns(files: RunFiles, tmp_path: Path) -> None:
    other = read_run(write_sample_run(tmp_path / "other"))
    found = row(tables.comparison([files, other]), Task="vqa", Metric="accuracy")
    assert found["by hand"] == 60.0 and found["by hand (2)"] == 60.0


def test_numbers_are_written_the_same_everywhere() -> None:
    assert [written(v, 1) for v in (None, float("nan"), 3, 12345, 1.25, "a")] == ["–", "–", "3", "12,345", "1.2", "a"]
    assert written(-0.5, 2, signed=True) == "−0.50" and written(0.5, 1, signed=True) == "+0.5"
    assert written(-0.04, 1, signed=True) == "0.0"


def test_nothing_is_best_of_one() -> None:
    assert best_places(pd.DataFrame([{"a": 1.0, "b": None}]), 0, ["a", "b"], decimals=1) == set()


SEARCHED = (
    "task,level,num_updates,batch_size,step_size,first_stage,seed,state,trained_updates,metric,score,seconds,error,folder\n"
    "vqa,1,9,8,4,0,0,chosen,9,accuracy,60.0,10,,a\n"
    "vqa,1,9,8,4,0,1,chosen,9,accuracy,62.0,10,,b\n"
    "vqa,2,9,8,4,0,0,finished,9,accuracy,63.0,10,,c\n"
    "vqa,2,9,8,4,0,1,finished,9,accuracy,57.0,10,,d\n"
    "vqa,3,9,8,4,0,0,pruned,3,accuracy,99.0,3,,e\n"
    "vqa,3,9,8,4,0,1,not run,0,,,0,,f\n"
)


def test_levels_are_compared_by_the_mean_over_seeds_of_what_went_all_the_way(tmp_path: Path) -> None:
    config = write_sample_run(tmp_path)
    (tmp_path / "search" / "trials.csv").write_text(SEARCHED, encoding="utf-8")
    files = read_run(config)
    assert search_tables.best_by_level(files, "vqa") == {1: 61.0, 2: 60.0}
    points = search_tables.trial_points(files, "vqa")
    assert [(point.level, point.whole) for point in points] == [(1, True), (1, True), (2, True), (2, True), (3, False)]
    table = search_tables.trials(files)
    assert isinstance(table, Table)
    assert table.frame["State"].tolist() == ["chosen", "chosen", "", "", "pruned", "not run"]
    assert table.frame["Trained"].tolist() == [9, 9, 9, 9, 3, 0]


def test_a_choice_is_held_against_the_spread_over_seeds(tmp_path: Path) -> None:
    config = sample_config(tmp_path)
    own = {"metric": "accuracy", "score": 61.0, "margin": 1.0, "spread": 2.4, "exceeds_spread": False, "compared_at": 9}
    write(tmp_path / "plan.json", {"tasks": [plan("vqa", 1)], "chosen": {"vqa": own}})
    found = row(search_tables.levels(read_run(config)), Task="vqa")
    assert (found["Margin"], found["Spread"], found["Compared at"]) == (1.0, 2.4, 9)
    assert found["Beats its runner-up"] == "within the spread"


def test_a_preset_is_told_from_a_plan_written_by_hand(tmp_path: Path) -> None:
    config = sample_config(tmp_path)
    write(tmp_path / "plan.json", {"tasks": [plan("vqa", 3)], "chosen": {"vqa": {"preset": "paper"}}})
    assert row(search_tables.levels(read_run(config)), Task="vqa")["Score"] == "published (preset)"
