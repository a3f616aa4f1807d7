"""Every combination of tasks with every seed, the same updates for a task in each; means and spreads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.miniature import miniature_config
from vltool.engines.engine import Done
from vltool.errors import ConfigError
from vltool.report.combination_table import combination_table
from vltool.structures import TaskPlan
from vltool.training.combinations import list_combinations, spread_of, summarize, train_combinations

PLANS = [TaskPlan("vqa", 2, 12, 6, 8), TaskPlan("caption_retrieval", 2, 12, 6, 8), TaskPlan("grounding", 1, 6, 4, 8)]


class Scripted:
    """An engine whose jobs give scores without training: the number of tasks, plus the seed for VQA."""

    def run(self, function: Callable[[Any], Any], jobs: Sequence[Any]) -> Iterator[Done[Any, Any]]:
        for job in jobs:
            if "fails" in job.folder:
                yield Done(job, None, ConfigError("no"))
            else:
                metric = {"vqa": "accuracy", "caption_retrieval": "image_to_text.recall@1", "grounding": "recall@1"}
                yield Done(job, {task: {metric[task]: 10.0 * len(job.tasks) + job.seed} for task in job.tasks}, None)


def test_all_seven_combinations_with_every_seed_in_folders_of_their_own(tmp_path: Path) -> None:
    listed = list_combinations(miniature_config(str(tmp_path)), PLANS, seeds=(0, 5))
    names = [job.tasks for job in listed[::2]]
    assert [len(tasks) for tasks in names] == [1, 1, 1, 2, 2, 2, 3]
    assert len(set(names)) == 7 and len({job.folder for job in listed}) == 14
    assert {plan for job in listed for plan in job.plans} == set(PLANS)  # the same budget in each


def test_scores_come_as_mean_and_spread_over_the_seeds(tmp_path: Path) -> None:
    listed = list_combinations(miniature_config(str(tmp_path)), PLANS, seeds=(0, 2))
    rows = train_combinations(listed, Scripted())
    assert rows[0]["tasks"] == ["vqa"] and rows[0]["seeds"] == [0, 2]
    assert rows[0]["scores"]["vqa"]["accuracy"] == {"mean": 11.0, "spread": pytest.approx(2**0.5), "values": [10, 12]}
    assert rows[-1]["scores"]["grounding"]["recall@1"]["mean"] == 31.0


def test_a_single_seed_has_no_spread() -> None:
    assert spread_of([3.0]) == {"mean": 3.0, "spread": None, "values": [3.0]}
    assert summarize([]) == []


def test_the_table_has_the_papers_layout_with_its_rows_marked(tmp_path: Path) -> None:
    rows = train_combinations(list_combinations(miniature_config(str(tmp_path)), PLANS, seeds=(0, 2)), Scripted())
    table = combination_table(rows, name="miniature", type_of=lambda task: task, num_tasks=3)
    own, published = table.grouped()
    assert [row[0].text for row in own.rows][::3] == ["VQA alone", "VQA + retrieval", "all"]
    assert [cell.text for cell in own.rows[0]] == ["VQA alone", "11.00 ± 1.41", "–", "–", "–"]
    assert published.published and [row[1].text for row in published.rows][4:] == ["66.35", "–", "66.09"]
    assert "2 seeds" in table.note


def test_seeds_that_cannot_be_are_refused(tmp_path: Path) -> None:
    for seeds in ([], [1, 1], [-1]):
        with pytest.raises(ConfigError, match=r"combinations\.seeds"):
            miniature_config_with(str(tmp_path), seeds)


def miniature_config_with(out: str, seeds: list[int]) -> None:
    from vltool.config import dump, from_dict

    plain = dump(miniature_config(out))
    from_dict({**plain, "combinations": {"seeds": seeds}})
