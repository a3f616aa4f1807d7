"""What each stage of a run does, and what it reads. The commands and the pipeline both call these."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from vltool.config import RunConfig
from vltool.engines.processes import ALONE, Processes
from vltool.errors import ConfigError
from vltool.json_files import write_json
from vltool.splits.protocol import training_of, trainings_of
from vltool.stage_inputs import (
    part_of,
    reads_combinations,
    reads_features,
    reads_pictures,
    reads_plan,
    reads_text,
)

if TYPE_CHECKING:
    from vltool.training.schedule import JointPlan


class Listener(Protocol):
    """Who is told how a run goes; the command line shows it."""

    def say(self, text: str) -> None: ...

    def progress(self, label: str, done: int, total: int) -> None: ...

    def table(self, title: str, columns: list[str], rows: list[list[str]]) -> None:
        """A table in place of the one before: how something stands just now."""


@dataclass(frozen=True)
class Stage:
    """run(config, listener) gives JSON-able counts; reads(config) everything its result depends on."""

    run: Callable[[RunConfig, Listener], dict[str, Any]]
    reads: Callable[[RunConfig], dict[str, Any]]


def check_run(config: RunConfig) -> None:
    """What can be known to be wrong before the first stage runs. Raises ConfigError."""
    from vltool.search.preset import preset_plans
    from vltool.search.task_search import list_trials
    from vltool.tasks.corpus import check_words
    from vltool.tasks.network import check_encoder
    from vltool.training.run import check_settings
    from vltool.training.schedule import JointPlan

    if {"search-layers", "train-joint"} & set(config.stages):
        check_settings(config.training)
        check_encoder(config.encoder)
    if "search-layers" in config.stages:
        tasks = list(config.tasks)
        if config.search.preset:
            plans = preset_plans(config, tasks)
        else:
            plans = {task: own[0].cell.plan for task, own in list_trials(config, tasks).items()}
        JointPlan(tuple(plans.values()), config.training.cycle_updates)
    if "embed-text" in config.stages:
        check_words(config)


def make_world(config: RunConfig, listener: Listener) -> dict[str, Any]:
    """Write the generated world's pictures and official files."""
    from vltool.world.files import write_world

    world = config.world
    if world is None:
        raise ConfigError("the stage 'world' needs the key 'world' in the configuration")
    counts = write_world(
        Path(world.out),
        num_train=world.train,
        num_val=world.val,
        num_test=world.test,
        seed=world.seed,
        questions_per_image=world.questions_per_image,
        twelve=world.twelve,
        progress=lambda done, total: listener.progress("drawing pictures", done, total),
    )
    return {**counts, "outputs": [world.out]}


def extract_features(config: RunConfig, listener: Listener) -> dict[str, Any]:
    """Region features of every named picture into the run's store."""
    from vltool.detectors.load import load_detector
    from vltool.features.extract import extract
    from vltool.features.shards import engine_called
    from vltool.splits.identity import visual_genome_aliases
    from vltool.tasks.given_boxes import given_boxes

    settings = config.features
    engine = engine_called(settings.engine, workers=settings.workers, ray_address=settings.ray_address)
    detector = load_detector(
        backend=settings.backend,
        config_file=settings.config_file or None,
        weights=settings.weights or None,
        precision=settings.precision,
        say=listener.say,
    )
    listener.say(f"detector {detector.name}, {detector.feature_dim}-d features, recipe {settings.recipe}")
    counts: dict[str, Any] = {"images": 0, "stored": 0, "skipped": 0, "failed": 0, "regions": 0, "failures": ""}
    passes: list[tuple[str, dict[str, Any]]] = [(settings.store, settings.selection)]
    for store, selection in passes:
        for source in settings.extract:
            result = extract(
                list(source.images),
                store,
                detector=detector,
                image_id_pattern=source.image_id,
                aliases=visual_genome_aliases(source.vg_images) if source.vg_images else None,
                **selection,
                workers=settings.workers,
                on_error=settings.on_error,
                engine=engine,
                progress=lambda done, total: listener.progress("extracting region features", done, total),
            )
            for name in ("images", "stored", "skipped", "failed", "regions"):
                counts[name] += getattr(result, name)
            counts["failures"] = str(result.failures or counts["failures"])
        if settings.given_store and len(passes) == 1:  # the frame of given boxes is known when all else is stored
            boxes = given_boxes(config)
            passes.append((settings.given_store, {"recipe": "given-boxes", "boxes": boxes, "only_with_boxes": True}))
    listener.say(
        f"{counts['images']:,} pictures: {counts['stored']:,} stored, {counts['skipped']:,} were there, "
        f"{counts['failed']:,} failed" + (f" (listed in {counts['failures']})" if counts["failed"] else "")
    )
    return {**counts, "outputs": [store for store, _ in passes]}


_COVERED = {"spacy": "words, {:.1f} % with a vector", "wordpiece": "word pieces, {:.1f} % of the text known"}


def embed_text(config: RunConfig, listener: Listener) -> dict[str, Any]:
    """Tokens, vocabularies of the training data, word vectors; and the counts of every split.

    Of protocol `paper`, the words of training (ii) too, in a folder of their own.
    """
    found = [_embed_text(part, listener) for part in _trainings(config)]
    return {**found[0], "outputs": [path for counts in found for path in counts["outputs"]]}


def _embed_text(config: RunConfig, listener: Listener) -> dict[str, Any]:
    from vltool.tasks.corpus import FILES, build_corpus, save_corpus
    from vltool.tasks.prepare import prepare_tasks
    from vltool.training.inputs import text_folder

    prepared = prepare_tasks(config)
    for row in prepared.counts:
        listener.say(
            f"{row['task']}/{row['split']}: {row['read']:,} read"
            + "".join(f", {row[k]:,} {k.replace('_', ' ')}" for k in ("not_asked", "contaminated") if row[k])
            + (f", {row['excluded']:,} excluded" if "excluded" in row else "")
            + (f", {row['moved']:+,} by protocol {config.splits.protocol}" if row.get("moved") else "")
            + f", {row['used']:,} used"
        )
    folder = text_folder(config)
    corpus = build_corpus(prepared, config.text, before=folder, progress=listener.say, decoders=config.decoders)
    save_corpus(corpus, folder)
    if config.splits.protocol != "paper-ii":
        _write_counts(config, prepared)
    answers = {name: len(pool) for name, pool in corpus.answers.items()}
    covered = 100 * corpus.coverage["found"] / max(1, corpus.coverage["words"])
    listener.say(
        f"{len(corpus.words):,} {_COVERED[config.text.tokenizer].format(covered)}; "
        + "; ".join(f"{count:,} answers of {name}" for name, count in answers.items())
    )
    if corpus.coverage["num_bad_lines"] or corpus.coverage["missing"]:
        listener.say(
            f"{config.text.glove}: {len(corpus.coverage['missing']):,} words without a vector and "
            f"{corpus.coverage['num_bad_lines']:,} lines that cannot be used, listed in {folder / FILES[-1]}"
        )
    return {
        "sentences": len(corpus.tokens),
        "words": len(corpus.words),
        "covered": covered,
        "answers": answers,
        "coverage": corpus.coverage,
        "outputs": [str(folder / name) for name in FILES],
    }


def search_layers(
    config: RunConfig, listener: Listener, *, tasks: list[str] | None = None, dry_run: bool = False
) -> dict[str, Any]:
    """Trials of the grid on each task alone, then the plan; or a published plan. dry_run: says what it would do."""
    from vltool.search.preset import write_preset
    from vltool.search.study import search

    searched = known_tasks(config, tasks)
    if config.search.preset:
        return write_preset(config, searched, say=listener.say, dry_run=dry_run)
    inputs = _load(config)
    if not dry_run:
        _write_counts(config, inputs.prepared)
    for row in inputs.prepared.counts:
        if row["without_features"]:
            listener.say(
                f"{row['task']}/{row['split']}: {row['without_features']:,} examples left out, their pictures have no "
                f"features; {row['used']:,} used"
            )
    return search(inputs, searched, say=listener.say, show=lambda found: _show_search(found, listener), dry_run=dry_run)


def _show_search(found: Any, listener: Listener) -> None:
    from vltool.search.estimate import readable

    left = "" if found.seconds_left is None else f", about {readable(found.seconds_left)} left"
    rows = [[task, cell, f"{metric} {score:.2f}"] for task, cell, metric, score in found.best]
    listener.table(f"best of {found.done} of {found.total} trainings{left}", ["task", "cell", "validation"], rows)


def train_joint(
    config: RunConfig, listener: Listener, *, tasks: list[str] | None = None, processes: Processes = ALONE
) -> dict[str, Any]:
    """Algorithm 1 over the run's tasks, or some of them, by the plan; of protocol `paper` both trainings, in turn.

    Ctrl-C and SIGTERM save in the middle of it and raise Interrupted.
    """
    found = {part.splits.protocol: _train(part, listener, tasks, processes) for part in _trainings(config)}
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


def _train(config: RunConfig, listener: Listener, tasks: list[str] | None, processes: Processes) -> dict[str, Any]:
    from vltool.search.plan import as_chosen
    from vltool.tasks.split_proof import met_in_training
    from vltool.training.inputs import text_folder
    from vltool.training.interrupt import wish_to_stop
    from vltool.training.live import Live
    from vltool.training.run import train

    chosen = known_tasks(config, tasks)
    config = as_chosen(config, chosen, say=listener.say)
    plan = _joint_plan(config, chosen)
    if processes.is_first and config.splits.protocol.startswith("paper-") and not text_folder(config).exists():
        _embed_text(config, listener)
    processes.wait()
    inputs = _load(config, tasks=chosen)
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

    config = as_chosen(config, list(config.tasks), say=listener.say)
    levels = encoder_options(config.encoder).num_levels
    plans = load_plan(config.training.plan, list(config.tasks), num_levels=levels)
    listed = list_combinations(config, plans, seeds=config.combinations.seeds)
    which = " and ".join(config.combinations.train) or "every combination of tasks"
    listener.say(f"{len(listed)} trainings: {len(config.combinations.seeds)} seeds of {which}")
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


def evaluate_run(config: RunConfig, listener: Listener) -> dict[str, Any]:
    """Test scores of the joint model and of the single-task winners of the search, side by side.

    Of protocol `paper` each task is scored with the training that may be scored on it; of one of its trainings alone,
    the other tasks are left out. Protocol `off` scores what was trained on, and marks it.
    """
    from vltool.evaluation.prediction_files import write_predictions
    from vltool.search.grid import with_settings
    from vltool.search.plan import as_chosen, chosen_settings, load_chosen
    from vltool.training.scoring import contamination_of, evaluation_record, forget_parts, score_checkpoint

    alone = {name: with_settings(config, chosen_settings(config, name)) for name in config.tasks}
    config = as_chosen(config, list(config.tasks))
    inputs = _load(config)
    parts = {name: part for name in config.tasks if (part := scored_by(config, name)) is not None}
    for name in config.tasks.keys() - parts.keys():
        listener.say(f"{name}: not scored, training {config.splits.protocol} may have seen its test pictures")
    joint = {name: str(training_folder(part, list(config.tasks)) / "checkpoint") for name, part in parts.items()}
    own_inputs = {part.splits.protocol: _load(part) for part in parts.values() if part != config}
    single = {
        name: str(Path(found["folder"]) / "checkpoint")
        for name, found in load_chosen(config.training.plan).items()
        if name in parts
    }
    models = {"joint": joint, "single": single}
    marked = config.splits.protocol == "off"
    summary: dict[str, Any] = {"test": {name: {} for name in parts}, "contamination": {}}
    for model, checkpoints in models.items():
        scored: dict[str, Any] = {}
        for name, path in checkpoints.items():
            listener.say(f"scoring {model} on {name}/test")
            show = lambda done, total, name=name: listener.progress(f"scoring {name}", done, total)  # noqa: E731
            own = own_inputs.get(parts[name].splits.protocol, inputs)
            own = own if model == "joint" else replace(inputs, config=alone[name])
            scored |= score_checkpoint(
                own,
                path,
                tasks=[name],
                split="test",
                allow_contaminated=marked,
                parts=config.out_dir / "eval" / f"{model}-test",
                progress=show,
            )
        record = evaluation_record(model, "test", inputs, checkpoints, scored)
        files = {}
        summary["contamination"][model] = contamination_of(scored)
        for name, found in scored.items():
            files[name] = write_predictions(found.evaluation, config.out_dir / "eval", f"{model}-test-{name}")
            summary["test"][name][model] = found.evaluation.scores
            summary["test"][name]["ignorance"] = found.ignorance
        record["predictions"] = {name: paths["predictions"] for name, paths in files.items()}
        write_json(config.out_dir / "eval" / f"{model}-test.json", {**record, "files": files})
        forget_parts(scored)
    return {**summary, "outputs": [str(config.out_dir / "eval" / f"{model}-test.json") for model in models]}


def training_folder(config: RunConfig, tasks: list[str]) -> Path:
    """Where a joint training leaves its checkpoint; those of protocol `paper` apart, as joint-i and joint-ii."""
    name = "joint" if set(tasks) == set(config.tasks) else "+".join(tasks)
    protocol = config.splits.protocol
    suffix = protocol.removeprefix("paper") if protocol.startswith("paper-") else ""
    return config.out_dir / "training" / (name + suffix)


def known_tasks(config: RunConfig, names: list[str] | None) -> list[str]:
    """The named tasks in the run's order, or all of them. Raises ConfigError with the known names."""
    if names is None:
        return list(config.tasks)
    for name in names:
        if name not in config.tasks:
            raise ConfigError(f"unknown task {name!r}; the run has {', '.join(config.tasks)}")
    if not names:
        raise ConfigError(f"no task is named; the run has {', '.join(config.tasks)}")
    return [name for name in config.tasks if name in names]


def make_report(config: RunConfig, listener: Listener) -> dict[str, Any]:
    """The page."""
    from vltool.report.page import write_report

    path = write_report(config, say=listener.say)
    return {"report": str(path), "outputs": [str(path)]}


def _trainings(config: RunConfig) -> list[RunConfig]:
    """The run as each of its separate trainings sees it: two under protocol `paper`."""
    names: Any = trainings_of(config.splits.protocol)
    return [replace(config, splits=replace(config.splits, protocol=name)) for name in names]


def scored_by(config: RunConfig, task: str) -> RunConfig | None:
    """The training of a run that is scored on the test set of `task`; None if the protocol lets none."""
    kind = config.tasks[task].type or task
    for part in _trainings(config):
        training = training_of(part.splits.protocol)
        if training is None or (kind, "test") in training.scored:
            return part
    return None


def _load(config: RunConfig, *, tasks: list[str] | None = None) -> Any:
    from vltool.training.inputs import load_inputs

    inputs = load_inputs(config)
    return inputs if tasks is None else replace(inputs, prepared=inputs.prepared.only(tasks))


def _write_counts(config: RunConfig, prepared: Any) -> None:
    write_json(config.out_dir / "counts.json", {"examples": prepared.counts, "contamination": prepared.contamination})


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
