"""A dry run says that tasks which are to share a decoder cannot, before anything is trained."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.miniature import miniature_config, miniature_prepared
from vltool.dry_run.findings import Findings
from vltool.dry_run.plans import Plans
from vltool.dry_run.sharers import examine_sharers
from vltool.structures import TaskPlan
from vltool.training.schedule import JointPlan


@pytest.mark.parametrize(
    ("names", "levels", "wrong"),
    [
        (("caption_retrieval", "alignment"), (2, 2), ""),
        (("caption_retrieval", "alignment"), (2, 1), "tasks that read different levels"),
        (("caption_retrieval", "vqa"), (2, 2), "one is a MatchingDecoder, the other a AnsweringDecoder"),
    ],
)
def test_levels_and_kinds_of_sharers(names: tuple[str, str], levels: tuple[int, int], wrong: str) -> None:
    config = miniature_config("nowhere")
    tasks = {name: replace(task, decoder="one" * (name in names)) for name, task in config.tasks.items()}
    plan = JointPlan(tuple(TaskPlan(n, level, 4, 2, 2) for n, level in zip(names, levels, strict=True)), 4)
    findings = Findings()
    config = replace(config, tasks=tasks, stages=("embed-text", "train-joint"))
    examine_sharers(config, miniature_prepared(), Plans({"train-joint": [plan]}), findings)
    assert [wrong in problem.wrong for problem in findings.problems] == [True] * bool(wrong)
    assert any(fact.file == "decoder one" and fact.found == f"shared by {', '.join(names)}" for fact in findings.facts)
