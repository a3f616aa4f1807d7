"""The tables about what went into a run: examples and what was left out, features, words, time, versions."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pandas as pd

import vltool
from vltool.provenance import git_commit
from vltool.report.run_files import RunFiles
from vltool.report.table import Table
from vltool.splits.protocol import EVALUATED

REASONS = {
    "read": "Read",
    "not_asked": "Not asked",
    "excluded": "Excluded",
    "contaminated": "Contaminated",
    "without_features": "Without features",
    "used": "Used",
}
PACKAGES = ("torch", "torchvision", "numpy", "spacy", "lmdb", "safetensors", "Pillow")
_LISTED = 12  # names of a long list that the page spells out


def examples(files: RunFiles) -> Table | str:
    """How many examples each split has and what was left out, by reason."""
    if files.counts is None:
        return "The examples have not been counted yet. The stage embed-text does it."
    rows = [
        {"Task": r["task"], "Split": r["split"], **{t: r.get(k, 0) for k, t in REASONS.items()}}
        for r in files.counts["examples"]
    ]
    return Table(
        "Examples of every split, and those left out",
        pd.DataFrame(rows),
        note="Not asked: what the task has no question about, as phrases without a box. Excluded: training examples "
        "about a picture that splits.exclude names. Contaminated: those about a picture that some task of the run "
        "evaluates. Without features: their picture is not in the "
        "store and the configuration lets them go.",
    )


LEFT = {
    "clean": "They are left out of training; an example can stand in several cells.",
    "paper": "They are kept; the protocol forbids to score these models on these sets instead.",
    "off": "They are kept, although scores on these sets are then no test of anything unseen.",
}


def contamination(files: RunFiles) -> Table | str:
    """Training examples about a picture that some task evaluates, and what the protocol did with them."""
    protocol = files.config.splits.protocol
    if files.counts is None:
        return "The splits have not been compared yet. The stage embed-text does it."
    pairs = list(files.counts.get("contamination", []))
    if not pairs:
        return f"Protocol {protocol}: no training picture is evaluated by any task, so there was nothing to leave out."
    shared = {(p["train"], p["evaluated"]): (p["images"], p["examples"]) for p in pairs}
    trained = dict.fromkeys([*files.task_names, *(p["train"] for p in pairs)])
    scored = dict.fromkeys(
        [*(f"{r['task']}/{r['split']}" for r in files.counts["examples"] if r["split"] in EVALUATED and r["used"])]
        + [p["evaluated"] for p in pairs]
    )
    rows = [{"Trained on": train} | {name: _shared(shared.get((train, name))) for name in scored} for train in trained]
    return Table(
        f"Contamination: evaluated pictures that a task would train on (protocol {protocol})",
        pd.DataFrame(rows),
        note="Columns: what is evaluated. Pictures in common, and in parentheses the training examples about them. "
        + LEFT[protocol.partition("-")[0]],
        flush_right=frozenset(scored),
    )


def _shared(counts: tuple[int, int] | None) -> str:
    return "0" if counts is None else f"{counts[0]:,} ({counts[1]:,})"


def scored_clean(files: RunFiles) -> list[str]:
    """One sentence for each evaluation on its proof that no scored picture was trained on, and what is not clean."""
    return [
        f"{model} on {split}: {record.get('contamination', {}).get('images', '?')} scored pictures were trained on "
        f"(protocol {record.get('protocol', '?')})."
        for (model, split), record in files.evaluations.items()
    ] + files.val_marks()


def store(files: RunFiles) -> Table | str:
    """Where the region features come from, as the store's header says it."""
    if files.store_header is None:
        return f"There is no feature store at {files.config.features.store} yet. The stage extract-features makes it."
    rows = [(key.replace("_", " "), _spelled(value)) for key, value in files.store_header.items()]
    return _pairs("Detector and feature store", rows)


def words(files: RunFiles) -> Table | str:
    """How many words have a vector."""
    if files.coverage is None:
        return "The text has not been embedded yet. The stage embed-text does it."
    return _pairs("Words with a GloVe vector", [(k.replace("_", " "), _spelled(v)) for k, v in files.coverage.items()])


def trainings(files: RunFiles) -> Table | str:
    """The trainings of several tasks, and how long they took."""
    if not files.trainings:
        return "There is no joint training yet. The stage train-joint makes it."
    rows = [
        {
            "Training": found.name,
            "Levels": ", ".join(f"{t.task} {t.level}" for t in found.plan.tasks) if found.plan else None,
            "Updates": found.num_updates or None,
            "Seconds": found.seconds or None,
            "Waiting for data": 100 * found.seconds_waiting / found.seconds if found.seconds else None,
            "State": "finished" if found.val is not None else "not finished",
        }
        for found in files.trainings.values()
    ]
    shared = [f"{name} ({', '.join(tasks)})" for name, tasks in files.config.shared_decoders.items()]
    return Table(
        "Trainings of several tasks (Algorithm 1)",
        pd.DataFrame(rows).astype({"Updates": "Int64"}),
        note="Waiting for data: percent of the time." + (f" Shared decoders: {'; '.join(shared)}." if shared else ""),
        decimals={"Seconds": 0},
    )


def stages(files: RunFiles) -> Table | str:
    """Time that each stage took."""
    if not files.stage_seconds:
        return "No stage of a pipeline has finished yet."
    rows = [{"Stage": name, "Seconds": seconds} for name, seconds in files.stage_seconds.items()]
    return Table("Stages of the run", pd.DataFrame(rows))


def software() -> Table:
    """Versions, and the commit if this is a checkout."""
    rows = [("vltool", vltool.__version__), ("Python", platform.python_version())]
    rows += [(name, found) for name in PACKAGES if (found := _version(name))]
    rows += [("git commit", found)] if (found := git_commit()) else []
    return _pairs("Versions that made this page", rows)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _pairs(caption: str, rows: list[tuple[str, str]]) -> Table:
    return Table(caption, pd.DataFrame(rows, columns=["", " "]))


def _spelled(value: Any) -> str:
    if value in ([], {}, ""):
        return "none"
    if isinstance(value, dict) and len(value) > _LISTED:
        return f"({len(value)} settings)"
    if isinstance(value, dict):
        return "; ".join(f"{key}: {_spelled(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        shown = ", ".join(str(item) for item in value[:_LISTED])
        return shown + (f", … ({len(value):,} in all)" if len(value) > _LISTED else "")
    if isinstance(value, float):
        return f"{value:,.2f}".rstrip("0").rstrip(".")
    return str(value)
