"""The stages that learn: the layer search, joint training, every combination of tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vltool.config import RunConfig
from vltool.engines.processes import ALONE, Processes
from vltool.json_files import write_json
from vltool.stages.data import embed_training
from vltool.stages.runs import known_tasks, load_run, separate_trainings, training_folder, write_counts
from vltool.stages.stage import Listener

if TYPE_CHECKING:
    from vltool.training.schedule import JointPlan


def search_layers(
    config: RunConfig, listener: Listener, *, tasks: list[str] | None = None, dry_run: bool = False
) -> dict[str, Any]:
    """Trials of the grid on each task alone, then the plan; or a published plan. dry_run: says what it would do."""
    from vltool.engines.ray import check_engine
    from vltool.processor import keep_freed_memory
    from vltool.search.preset import write_preset
    from vltool.search.study import search

    searched = known_tasks(config, tasks)
    if config.search.preset:
        return write_preset(config, searched, say=listener.say, dry_run=dry_run)
    check_engine(config.search.engine, config.search.ray_address)
    keep_freed_memory()
    inputs = load_run(config)
    if not dry_run:
        write_counts(config, inputs.prepared)
    for row in inputs.prepared.counts:
        if row["without_features"]:
            listener.say(
                f"{row['task']}/{row['split']}: {row['without_features']:,} examples left out, their pictures have no "
                f"features; {row['used']:,} used"
            )
    return search(inputs, searched, say=listener.say, show=lambda found: _show_search(found, listener), dry_run=dry_run)


def _show_search(found: Any, listener: Listener) -> None:
    from vltool.training.timing import readable

    left = "" if found.seconds_left is None else f", about {readable(found.seconds_left)} left"
    rows = [[task, cell, f"{metric} {score:.2f}"] for task, cell, metric, score in found.best]
    listener.table(f"best of {found.done} of {found.total} trainings{left}", ["task", "cell", "validation"], rows)


def train_joint(
    config: RunConfig, listener: Listener, *, tasks: list[str] | None = None, processes: Processes = ALONE
) -> dict[str, Any]:
    """Algorithm 1 over the run's tasks, or some of them, by the plan; of protocol `paper` both trainings, in turn.

    Ctrl-C and SIGTERM save in the middle of it and raise Interrupted.
    """
    parts = separate_trainings(config)
    if len(parts) > 1:  # what stops the second is said before the first has trained for days
        _check_batches_of(parts, known_tasks(config, tasks))
    found = {part.splits.protocol: _train(part, listener, tasks, processes) for part in parts}
    if len(found) == 1:
        return next(iter(found.values()))
    first = next(iter(found.values()))
    return {
        "updates": sum(counts["updates"] for counts in found.values()),
        "val": first["val"],
        "checkpoint": first["checkpoint"],
        "checkpoints": {protocol: counts["checkpoint"] for protocol, counts in found.items()},
        "outputs": [path for counts in found.values() for path in counts["outputs"]],
    }


def _check_batches_of(parts: list[RunConfig], tasks: list[str]) -> None:
    from vltool.tasks.prepare import prepare_tasks
    from vltool.training.run import check_batches

    for part in parts:
        check_batches(prepare_tasks(part), _joint_plan(part, tasks), where=part.training.plan)


def _train(config: RunConfig, listener: Listener, tasks: list[str] | None, processes: Processes) -> dict[str, Any]:
    from vltool.processor import keep_freed_memory
    from vltool.search.plan import as_chosen
    from vltool.tasks.split_proof import met_in_training
    from vltool.training.inputs import text_folder
    from vltool.training.interrupt import wish_to_stop
    from vltool.training.live import Live
    from vltool.training.run import train

    keep_freed_memory()
    chosen = known_tasks(config, tasks)
    config = as_chosen(config, chosen, say=listener.say)
    plan = _joint_plan(config, chosen)
    if processes.is_first and config.splits.protocol.startswith("paper-") and not text_folder(config).exists():
        embed_training(config, listener)
    processes.wait()
    inputs = load_run(config, tasks=chosen)
    for row in inputs.prepared.counts:
        if row["split"] == "train":
            listener.say(
                f"{row['task']}: {row['used']:,} training examples, {row['contaminated']:,} kept out as evaluated"
            )
    for sentence in met_in_training(inputs.prepared, config):
        listener.say(sentence)
    folder = training_folder(config, chosen)
    live = Live(plan, say=listener.say, progress=listener.progress)
    with wish_to_stop(listener.say) as stop:
        result = train(inputs, plan, folder, report=live, stop=stop, processes=processes)
    waiting = 100 * result.seconds_waiting / max(result.seconds, 1e-9)
    listener.say(f"{result.num_updates:,} updates in {result.seconds:.0f} s, {waiting:.1f} % of it waiting for data")
    best = {name: {**found, "checkpoint": str(folder / name)} for name, found in result.best.items()}
    return {
        "updates": result.num_updates,
        "val": result.val,
        "checkpoint": str(folder / "checkpoint"),
        **({"best": best} if best else {}),
        "outputs": [str(folder / "result.json"), str(folder / "checkpoint")],
    }


def combine_tasks(config: RunConfig, listener: Listener) -> dict[str, Any]:
    """Sets of the tasks trained alike over several seeds; their validation scores, mean and spread."""
    from vltool.engines.local import LocalEngine
    from vltool.search.plan import as_chosen, load_plan
    from vltool.tasks.network import encoder_options
    from vltool.training.combinations import list_combinations, train_combinations
    from vltool.training.run import check_batches
    from vltool.training.schedule import JointPlan

    config = as_chosen(config, list(config.tasks), say=listener.say)
    levels = encoder_options(config.encoder).num_levels
    plans = load_plan(config.training.plan, list(config.tasks), num_levels=levels)
    check_batches(
        load_run(config).prepared, JointPlan(plans, config.training.cycle_updates), where=config.training.plan
    )
    listed = list_combinations(config, plans, seeds=config.combinations.seeds)
    which = ", ".join(config.combinations.train) or "every combination of tasks"
    seeds = ", ".join(map(str, config.combinations.seeds))
    listener.say(f"{len(listed)} trainings: {which}; seeds {seeds}")
    done: list[str] = []

    def on_done(job: Any, scores: dict[str, dict[str, float]]) -> None:
        done.append(job.folder)
        listener.progress(f"training {' + '.join(job.tasks)}", len(done), len(listed))

    rows = train_combinations(listed, LocalEngine(config.combinations.jobs), on_done=on_done)
    path = config.out_dir / "combinations.json"
    write_json(path, rows, indent=1)
    return {"trainings": len(listed), "combinations": rows, "outputs": [str(path)]}


def _joint_plan(config: RunConfig, tasks: list[str]) -> JointPlan:
    from vltool.search.plan import load_plan
    from vltool.tasks.network import encoder_options
    from vltool.training.schedule import JointPlan, in_stages

    plans = load_plan(config.training.plan, tasks, num_levels=encoder_options(config.encoder).num_levels)
    return JointPlan(in_stages(plans, config.training.curriculum), config.training.cycle_updates)
