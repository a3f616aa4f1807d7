"""Every stage by name, and what can be known to be wrong before the first one runs."""

from __future__ import annotations

from vltool.config import RunConfig
from vltool.stage_inputs import part_of, reads_combinations, reads_features, reads_pictures, reads_plan, reads_text
from vltool.stages.data import embed_text, extract_features, make_world
from vltool.stages.judging import evaluate_run, make_report
from vltool.stages.learning import combine_tasks, search_layers, train_joint
from vltool.stages.stage import Stage

STAGES = {
    "world": Stage(make_world, part_of("world")),
    "extract-features": Stage(extract_features, reads_pictures),
    "embed-text": Stage(embed_text, reads_text),
    "search-layers": Stage(search_layers, reads_features),
    "train-joint": Stage(train_joint, reads_plan),
    "train-combinations": Stage(combine_tasks, reads_combinations),
    "eval": Stage(evaluate_run, part_of("evaluation")),
    "report": Stage(make_report, part_of("name")),
}


def check_run(config: RunConfig) -> None:
    """What can be known to be wrong before the first stage runs. Raises ConfigError."""
    from vltool.engines.ray import check_engine
    from vltool.search.preset import preset_plans
    from vltool.search.task_search import list_trials
    from vltool.tasks.corpus import check_words
    from vltool.tasks.network import check_encoder
    from vltool.training.run import check_settings
    from vltool.training.schedule import JointPlan

    if {"search-layers", "train-joint"} & set(config.stages):
        check_settings(config.training)
        check_encoder(config.encoder)
    if "extract-features" in config.stages:
        check_engine(config.features.engine, config.features.ray_address)
    if "search-layers" in config.stages:
        check_engine(config.search.engine, config.search.ray_address)
        tasks = list(config.tasks)
        if config.search.preset:
            plans = preset_plans(config, tasks)
        else:
            plans = {task: own[0].cell.plan for task, own in list_trials(config, tasks).items()}
        JointPlan(tuple(plans.values()), config.training.cycle_updates)
    if "embed-text" in config.stages:
        check_words(config)
