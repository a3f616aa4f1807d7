"""What each stage of a run reads: when none of it has changed, the stage is up to date."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from vltool.config import RunConfig, dump, sources_of

Reads = Callable[[RunConfig], dict[str, Any]]


def file_stamps(paths: Iterable[Path]) -> list[tuple[str, int, int]]:
    """Name, size and time of change of files and of everything in folders; what is not there is left out.

    Of a member of an archive (`annotations.zip/Sentences`), those of the archive.
    """
    stamps = []
    for path in paths:
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
    paths = [Path(path) for source in config.features.extract for path in source.images]
    paths += [Path(source.vg_images) for source in config.features.extract if source.vg_images]
    given = {"text": reads_text(config)} if config.features.given_store else {}  # the boxes stand in the tasks' files
    return {"features": dump(config)["features"], "files": file_stamps(paths), **given}


def reads_text(config: RunConfig) -> dict[str, Any]:
    """The files of every source, the list of excluded pictures, the word vectors, and what is done with them."""
    files = {Path(path) for _, source in sources_of(config) for path in source.files.values()}
    if isinstance(config.splits.exclude, str) and config.splits.exclude:
        files.add(Path(config.splits.exclude))
    if config.text.glove != "world":
        files.add(Path(config.text.glove))
    return {**part_of("text", "tasks", "splits")(config), "files": file_stamps(sorted(files))}


def reads_features(config: RunConfig) -> dict[str, Any]:
    """The store, whoever has filled it, and the settings of every training."""
    stores = [Path(path) for path in (config.features.store, config.features.given_store) if path]
    files = [stamp for stamp in file_stamps(stores) if "lock" not in Path(stamp[0]).name]  # readers touch the lock
    return {**part_of("search", "encoder", "training")(config), "store": files}


def reads_plan(config: RunConfig) -> dict[str, Any]:
    """The plan, whoever has written it, and the settings of the training."""
    path = Path(config.training.plan)
    plan = path.read_text(encoding="utf-8") if path.is_file() else ""
    return {**part_of("training", "encoder")(config), "plan": plan}


def reads_combinations(config: RunConfig) -> dict[str, Any]:
    """What a training reads, and the seeds."""
    return {**reads_plan(config), "seeds": list(config.combinations.seeds)}
