"""Plans that need no search: the levels that the paper found. Its other values are in a supplement that we lack."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from vltool.config import RunConfig
from vltool.errors import ConfigError
from vltool.search.plan import write_plan
from vltool.structures import TaskPlan
from vltool.tasks.network import encoder_options

LEVELS = {"caption_retrieval": 3, "vqa": 5, "grounding": 2}
"""l_R, l_Q and l_G, found by the paper's own search (section 5.2); its encoder has 5 levels."""

NUM_LEVELS = 5

OURS = {
    "caption_retrieval": {"num_updates": 60000, "batch_size": 64, "step_size": 20000},
    "vqa": {"num_updates": 45000, "batch_size": 128, "step_size": 15000},
    "grounding": {"num_updates": 12000, "batch_size": 128, "step_size": 4000},
}
"""Not the paper's and not searched: about 9, 13 and 10 passes over COCO's captions, VQA 2.0 and Flickr30k Entities,
with three or more halvings of the learning rate.
"""


def preset_plans(config: RunConfig, tasks: list[str]) -> dict[str, TaskPlan]:
    """The paper's plans of some of a run's tasks.

    Raises ConfigError for a task that the paper has not, or an encoder with too few levels.
    """
    num_levels = encoder_options(config.encoder).num_levels
    plans = {}
    for task in tasks:
        kind = config.tasks[task].type or task
        if kind not in LEVELS:
            raise ConfigError(f"search.preset paper: the paper has no task {kind!r}; it has {', '.join(LEVELS)}")
        if LEVELS[kind] > num_levels:
            raise ConfigError(
                f"search.preset paper: {task} reads level {LEVELS[kind]}; legal is 1 to {num_levels}, the encoder's "
                f"levels. Set encoder.options.num_levels={NUM_LEVELS}, as in the paper"
            )
        plans[task] = TaskPlan(task, LEVELS[kind], **OURS[kind])
    return plans


def write_preset(config: RunConfig, tasks: list[str], *, say: Callable[[str], None], dry_run: bool) -> dict[str, Any]:
    """Write the paper's plan for some of a run's tasks, saying whose values these are; counts as a search's."""
    plans = preset_plans(config, tasks)
    for task, plan in plans.items():
        own = ", ".join(f"{key} {value:,}" for key, value in OURS[config.tasks[task].type or task].items())
        say(f"{task}: level {plan.level} is the paper's (section 5.2); ours, not searched: {own}")
    path = Path(config.training.plan)
    levels = {task: plan.level for task, plan in plans.items()}
    if dry_run:
        return {"trials": 0, "levels": levels, "chosen": {}, "outputs": []}
    told = {"preset": "paper", "published": ["level"], "ours": list(next(iter(OURS.values())))}
    written = write_plan(path, plans, dict.fromkeys(plans, told))
    return {"trials": 0, "failed": 0, "levels": levels, "chosen": written["chosen"], "outputs": [str(path)]}
