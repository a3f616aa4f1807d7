"""What each stage of a run reads: when none of it has changed, the stage is up to date."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from vltool.config import RunConfig, dump, sources_of
from vltool.remote_files import exists, is_url, version_of, with_slashes

Reads = Callable[[RunConfig], dict[str, Any]]


def file_stamps(paths: Iterable[str | Path]) -> list[tuple[str, int | str, int]]:
    """Name, size and time of change of files and of everything in folders; what is not there is left out.

    Of a member of an archive (`annotations.zip/Sentences`), those of the archive; of a URL, its version.
    """
    stamps: list[tuple[str, int | str, int]] = []
    for path in paths:
        if is_url(path):
            stamps += [(str(path), version_of(with_slashes(path)), 0)] if exists(path) else []
            continue
        path = Path(path)
        found = sorted(item for item in path.rglob("*") if item.is_file()) if path.is_dir() else [path]
        for file in found:
            there = next((part for part in (file, *file.parents) if part.is_file()), None)
            if there is not None:
                status = there.stat()
                stamps.append((str(file), status.st_size, status.st_mtime_ns))
    return stamps


def part_of(*names: str) -> Reads:
    """Some keys of the configuration."""
    return lambda config: {name: dump(config)[name] for name in names}


def reads_pictures(config: RunConfig) -> dict[str, Any]:
    """The pictures to extract, and how."""
    paths = [path for source in config.features.extract for path in source.images]
    paths += [source.vg_images for source in config.features.extract if source.vg_images]
    given = {"text": reads_text(config)} if config.features.given_store else {}  # the boxes stand in the tasks' files
    return {"features": dump(config)["features"], "files": file_stamps(paths), **given}


def reads_text(config: RunConfig) -> dict[str, Any]:
    """The files of every source, the list of excluded pictures, the word vectors, and what is done with them."""
    files = {path for _, source in sources_of(config) for path in source.files.values()}
    if isinstance(config.splits.exclude, str) and config.splits.exclude:
        files.add(config.splits.exclude)
    words = config.text.wordpiece_vocab if config.text.tokenizer == "wordpiece" else config.text.glove
    if words not in ("", "world"):
        files.add(words)
    return {**part_of("text", "tasks", "splits")(config), "files": file_stamps(sorted(files))}


def reads_features(config: RunConfig) -> dict[str, Any]:
    """The store, whoever has filled it, and the settings of every training."""
    stores = [path for path in (config.features.store, config.features.given_store) if path]
    files = [stamp for stamp in file_stamps(stores) if "lock" not in Path(stamp[0]).name]  # readers touch the lock
    return {**part_of("search", "encoder", "training")(config), "store": files, **_first_weights(config)}


def reads_plan(config: RunConfig) -> dict[str, Any]:
    """The plan, whoever has written it, and the settings of the training."""
    path = Path(config.training.plan)
    plan = path.read_text(encoding="utf-8") if path.is_file() else ""
    return {**part_of("training", "encoder")(config), "plan": plan, **_first_weights(config)}


def _first_weights(config: RunConfig) -> dict[str, Any]:
    """The file that a new encoder starts from, if there is one."""
    path = config.encoder.options.get("init_from")
    return {"first_weights": file_stamps([Path(path)])} if path else {}


def reads_combinations(config: RunConfig) -> dict[str, Any]:
    """What a training reads, the seeds, and which sets of tasks are trained."""
    chosen = dump(config)["combinations"]
    named = {key: chosen[key] for key in ("train", "groups", "sets", "finetune") if chosen[key]}
    return {**reads_plan(config), "seeds": list(config.combinations.seeds), **named}
