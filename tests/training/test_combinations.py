"""Every combination of tasks with every seed, the same updates for a task in each; means and spreads."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.miniature import Pictures, miniature_config, miniature_corpus, miniature_prepared
from vltool.config import RunConfig, dump, from_dict
from vltool.engines.engine import Done
from vltool.errors import ConfigError
from vltool.report.combination_table import combination_table
from vltool.structures import TaskPlan
from vltool.training import checkpoint
from vltool.training.combinations import list_combinations, spread_of, summarize, train_combinations
from vltool.training.inputs import RunInputs

ALL = ("vqa", "caption_retrieval", "grounding")
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


GROUPS = {"answers": ["vqa"], "pictures": ["caption_retrieval", "grounding"]}


def grouped(out: Path, **changes: Any) -> RunConfig:
    plain = dump(miniature_config(str(out)))
    chosen = {"groups": GROUPS, "train": ["single", "groups", "pairs", "all", "finetuned"], "seeds": [0, 2], **changes}
    names = ("vqa", "caption_retrieval", "grounding")
    return from_dict({**plain, "tasks": {name: plain["tasks"][name] for name in names}, "combinations": chosen})


def test_named_sets_are_trained_once_each_and_fine_tuning_comes_after_all(tmp_path: Path) -> None:
    listed = list_combinations(grouped(tmp_path), PLANS, seeds=(0, 2))
    sets = [job.tasks for job in listed[::2] if not job.is_finetuned]
    assert sets == [("vqa",), ("caption_retrieval",), ("grounding",), ("caption_retrieval", "grounding"), ALL]
    tuned = [job for job in listed if job.is_finetuned]
    assert [job.tasks for job in tuned[::2]] == [("vqa",), ("caption_retrieval",), ("grounding",)]
    (of_all,) = [job.folder for job in listed if job.tasks == ALL and job.seed == 2]
    origins = [from_dict(json.loads(job.config)).training.init_from for job in tuned if job.seed == 2]
    assert set(origins) == {f"{of_all}/checkpoint"}
    assert len({job.folder for job in listed}) == len(listed)
    more = grouped(tmp_path, train=["all"], sets={"own": ["grounding", "vqa"]}, finetune={"learning_rate": 1e-5})
    assert [job.tasks for job in list_combinations(more, PLANS, seeds=(0,))] == [("vqa", "grounding"), ALL]
    trained: list[bool] = []
    train_combinations(listed, Scripted(), on_done=lambda job, scores: trained.append(job.is_finetuned))
    assert trained == sorted(trained) and len(trained) == len(listed)


def test_fine_tuning_takes_its_own_keys(tmp_path: Path) -> None:
    config = grouped(tmp_path, finetune={"learning_rate": 1e-5, "optimizer": "adamw"})
    tuned = list_combinations(config, PLANS, seeds=(0,))[-1]
    training = from_dict(json.loads(tuned.config)).training
    assert (training.learning_rate, training.optimizer) == (1e-5, "adamw")
    with pytest.raises(ConfigError, match=r"combinations\.finetune: unknown key 'training\.rate'"):
        list_combinations(grouped(tmp_path, finetune={"rate": 1}), PLANS, seeds=(0,))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"groups": {"a": ["nlvr2"]}}, r"combinations\.groups\.a is \['nlvr2'\]: name different tasks of the run"),
        ({"groups": {"a": ["vqa"], "b": ["vqa"]}}, r"vqa stands in more than one group"),
        ({"groups": {}}, r"combinations\.train asks for groups"),
        ({"train": ["finetuned"]}, r"finetuned starts from the training of all: name `all` too"),
        ({"sets": {"a": []}}, r"combinations\.sets\.a is \[\]"),
    ],
)
def test_sets_that_cannot_be_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        grouped(tmp_path, **changes)


def test_a_group_is_trained_and_each_task_goes_on_from_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Truly trained, in this process: the miniature has no files to read."""

    def load(text: str) -> Any:
        prepared = miniature_prepared()
        return RunInputs(from_dict(json.loads(text)), prepared, miniature_corpus(prepared), Pictures())  # type: ignore[arg-type]

    monkeypatch.setattr("vltool.training.combinations.load_inputs_once", load)
    plans = [plan for plan in PLANS if plan.task != "caption_retrieval"]
    config = grouped(tmp_path, groups={"a": ["vqa"], "b": ["grounding"]}, seeds=[0])
    listed = list_combinations(config, plans, seeds=(0,))
    rows = train_combinations(listed, Here())
    assert [(row["tasks"], row.get("finetuned", False)) for row in rows] == [
        (["vqa"], False),
        (["grounding"], False),
        (["vqa", "grounding"], False),
        (["vqa"], True),
        (["grounding"], True),
    ]
    tuned = checkpoint.load(Path(listed[-2].folder) / "checkpoint")
    assert [task["task"] for task in tuned.run["plan"]] == ["vqa"]
    assert set(tuned.trained_ids().by_task) == {"vqa", "grounding"}
    assert tuned.run["num_updates"] == 12
    assert not any(name.startswith("decoders.grounding") for name in tuned.tensors())


class Here:
    def run(self, function: Callable[[Any], Any], jobs: Sequence[Any]) -> Iterator[Done[Any, Any]]:
        for job in jobs:
            yield Done(job, function(job), None)


def test_seeds_that_cannot_be_are_refused(tmp_path: Path) -> None:
    for seeds in ([], [1, 1], [-1]):
        with pytest.raises(ConfigError, match=r"combinations\.seeds"):
            miniature_config_with(str(tmp_path), seeds)


def miniature_config_with(out: str, seeds: list[int]) -> None:
    plain = dump(miniature_config(out))
    from_dict({**plain, "combinations": {"seeds": seeds}})
