"""The stages that judge: test scores of the models of a run, and the page about it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from vltool.config import RunConfig
from vltool.json_files import write_json
from vltool.stages.runs import load_run, scored_by, training_folder
from vltool.stages.stage import Listener


def evaluate_run(config: RunConfig, listener: Listener) -> dict[str, Any]:
    """Test scores of the joint model and of the single-task winners of the search, side by side.

    Of protocol `paper` each task is scored with the training that may be scored on it; of one of its trainings alone,
    the other tasks are left out. Protocol `off` scores what was trained on, and marks it.
    """
    from vltool.evaluation.prediction_files import write_predictions
    from vltool.processor import keep_freed_memory
    from vltool.search.grid import with_settings
    from vltool.search.plan import as_chosen, chosen_settings, load_chosen
    from vltool.training.scoring import contamination_of, evaluation_record, forget_parts, score_checkpoint

    keep_freed_memory()
    alone = {name: with_settings(config, chosen_settings(config, name)) for name in config.tasks}
    config = as_chosen(config, list(config.tasks))
    inputs = load_run(config)
    parts = {name: part for name in config.tasks if (part := scored_by(config, name)) is not None}
    for name in config.tasks.keys() - parts.keys():
        listener.say(f"{name}: not scored, training {config.splits.protocol} may have seen its test pictures")
    joint = {name: str(training_folder(part, list(config.tasks)) / "checkpoint") for name, part in parts.items()}
    own_inputs = {part.splits.protocol: load_run(part) for part in parts.values() if part != config}
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


def make_report(config: RunConfig, listener: Listener) -> dict[str, Any]:
    """The page."""
    from vltool.report.page import write_report

    path = write_report(config, say=listener.say)
    return {"report": str(path), "outputs": [str(path)]}
