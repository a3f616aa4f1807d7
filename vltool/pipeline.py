"""The stages of a run in order, each skipped when nothing that it reads has changed since it finished.

A stage leaves `stages/<name>.json` below the run's folder when it is done: a key made of everything it depends
on, what it counted, and how long it took. Stages stopped half-way go on where they were.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vltool import __version__
from vltool.config import RunConfig, dump
from vltool.errors import ConfigError
from vltool.json_files import write_json
from vltool.provenance import git_commit, versions
from vltool.remote_files import exists
from vltool.stages.stage import Listener
from vltool.stages.table import STAGES, check_run


@dataclass(frozen=True)
class StageResult:
    """What a stage counted. up_to_date: it had nothing to do; seconds: of the run that did the work."""

    name: str
    counts: dict[str, Any]
    seconds: float
    up_to_date: bool


def run_pipeline(
    config: RunConfig, listener: Listener, *, stages: Iterable[str] | None = None
) -> dict[str, StageResult]:
    """Run the configuration's stages (or the named ones) in order. Raises the first stage's error."""
    results: dict[str, StageResult] = {}
    check_run(config)
    wanted = set(config.stages).intersection(config.stages if stages is None else stages)
    for name, key in _keys(config):
        if name in wanted:
            results[name] = _run_stage(name, STAGES[name].run, key, config, listener)
            write_config(config)  # beside results that are there, never beside those of another configuration
    return results


def run_stage(config: RunConfig, listener: Listener, name: str) -> StageResult:
    """One stage of a run alone, skipped when it is up to date; the stages before it are taken to be done."""
    key = next(key for stage, key in _keys(config, name) if stage == name)
    result = _run_stage(name, STAGES[name].run, key, config, listener)
    write_config(config)
    return result


def finished_stages(config: RunConfig) -> list[str]:
    """The stages that a run would skip: up to date, as are all before them."""
    found: list[str] = []
    for name, key in _keys(config):
        if name not in config.stages:
            continue
        if not _is_finished(_read_marker(_marker(config, name)), key):
            break
        found.append(name)
    return found


def _is_finished(marker: dict[str, Any], key: str) -> bool:
    counts = marker.get("counts", {})
    whole = not counts.get("unfinished") and all(exists(path) for path in counts.get("outputs", []))
    return marker.get("key") == key and whole


def forget_stage(config: RunConfig, name: str) -> None:
    """Have a stage run again: what it left is no longer what its settings give."""
    _marker(config, name).unlink(missing_ok=True)


READ_BY_ALL = ("embed-text", "search-layers", "train-joint")
"""Stages that read what later ones do too: the tasks' files, the feature store, the plan. It counts, run or not."""


def _keys(config: RunConfig, *more: str) -> Iterator[tuple[str, str]]:
    """The stages of a run and `more`, each with its key; taken when the stages before it are done."""
    own = {*config.stages, *more}
    key = ""
    for name, stage in STAGES.items():
        if name in own or name in READ_BY_ALL:
            key = stage_key(key, config, stage.reads(config))
            yield name, key
        own.discard(name)
        if not own:
            return


def _marker(config: RunConfig, name: str) -> Path:
    return config.out_dir / "stages" / f"{name}.json"


def stage_key(previous: str, config: RunConfig, reads: dict[str, Any]) -> str:
    """Digest of everything a stage depends on: the stage before it and what it reads itself."""
    text = json.dumps([previous, __version__, config.seed, reads], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def write_config(config: RunConfig) -> None:
    """Leave the resolved configuration beside the results."""
    config.out_dir.mkdir(parents=True, exist_ok=True)
    write_json(
        config.out_dir / "config.json",
        {"provenance": {"versions": versions(), "commit": git_commit()}, **dump(config)},
        indent=1,
    )


def _run_stage(
    name: str,
    run: Callable[[RunConfig, Listener], dict[str, Any]],
    key: str,
    config: RunConfig,
    listener: Listener,
) -> StageResult:
    marker = _marker(config, name)
    found = _read_marker(marker)
    counts = found.get("counts", {})
    if _is_finished(found, key):
        listener.say(f"{name}: up to date")
        return StageResult(name, counts, found["seconds"], True)
    listener.say(f"{name} …")
    started = time.perf_counter()
    try:
        counts = run(config, listener)
    except FileNotFoundError as error:
        raise ConfigError(f"{name}: {error.filename}: no such file or folder. Check the paths of the run") from error
    seconds = time.perf_counter() - started
    write_json(marker, {"key": key, "counts": counts, "seconds": seconds}, indent=1)
    return StageResult(name, counts, seconds, False)


def _read_marker(path: Path) -> dict[str, Any]:
    """What a finished stage left; nothing if it is not there or damaged, so that the stage runs again."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) and {"key", "counts", "seconds"} <= set(found) else {}
