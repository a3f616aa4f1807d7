"""Whether the tasks that are to share a decoder can: their levels in the plan, and what their decoders are made of."""

from __future__ import annotations

from vltool.config import RunConfig
from vltool.dry_run.findings import Findings
from vltool.dry_run.plans import Plans
from vltool.dry_run.rehearsal import teach
from vltool.dry_run.stand_in import sentences_of, some_of, words_of
from vltool.models.joint_model import check_shared_levels
from vltool.tasks.prepare import PreparedTasks
from vltool.tasks.shared_decoders import answer_pools

STAGE = "train-joint"
FEW_SENTENCES = 100


def examine_sharers(config: RunConfig, prepared: PreparedTasks, plans: Plans, findings: Findings) -> None:
    """Refuses tasks that are to share a decoder and cannot. Their network is built without its memory."""
    import numpy as np
    import torch

    from vltool.tasks.network import build_network

    names = [task for tasks in config.shared_decoders.values() for task in tasks if task in prepared.tasks]
    if not names:
        return
    todo = "Correct the key that is named (docs/training.md)"
    searched = "search-layers" in config.stages  # levels are then found later
    levels = {} if searched else {plan.task: plan.level for plan in plans.tasks if plan.task in names}
    with findings.collecting(STAGE, "tasks", todo=todo):
        check_shared_levels(levels, config.decoders)
    tasks = {name: prepared.tasks[name] for name in names}
    training = {name: prepared.examples[name]["train"] for name in names}
    with findings.collecting(STAGE, "tasks", todo=todo):
        words = words_of(
            config, sentences_of([e for found in training.values() for e in some_of(found, FEW_SENTENCES)])
        )
        pools = answer_pools(tasks, training, config.decoders, threshold=0)
        for name, task in tasks.items():
            teach(task, words.vocabulary, pools.get(name))
        with torch.device("meta"):
            build_network(
                config.encoder,
                tasks,
                dict.fromkeys(names, 1),
                vectors=np.zeros((words.num_rows, 1), np.float32),
                feature_dim=1,
                seed=0,
                decoders=config.decoders,
            )
    for decoder, sharers in config.shared_decoders.items():
        findings.note(STAGE, f"decoder {decoder}", f"shared by {', '.join(sharers)}")
