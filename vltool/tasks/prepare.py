"""From a configuration to the examples of every task: read, choose pictures, keep the splits clean, count.

What is left out is counted here, by task, split and reason; nothing disappears silently.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from vltool.config import RunConfig, SourceConfig
from vltool.datasets.sources import without_collecting
from vltool.errors import ConfigError, DataError
from vltool.registry import READERS, TASKS, resolve
from vltool.remote_files import here
from vltool.splits.excluded import read_excluded
from vltool.splits.protocol import apply_protocol, train_on, training_of
from vltool.structures import Example, ImageId
from vltool.tasks.task import Task

SPLITS = ("train", "val", "test")
Examples = dict[str, dict[str, tuple[Example, ...]]]
ReadSource = Callable[[SourceConfig, str], list[Any]]


@dataclass(frozen=True)
class PreparedTasks:
    """The tasks of a run and what each of them learns from and is scored on.

    examples: task → split → examples. counts: one row a task and split: read, and left out by reason.
    """

    tasks: dict[str, Task[Any]]
    examples: Examples
    counts: tuple[dict[str, Any], ...]
    contamination: tuple[dict[str, Any], ...] = ()

    def only(self, names: Iterable[str]) -> PreparedTasks:
        """The same for some of the tasks; the splits stay clean with respect to all of them."""
        chosen = tuple(names)
        for name in chosen:
            if name not in self.tasks:
                raise ConfigError(f"the run has no task {name!r}; it has {', '.join(self.tasks)}")
        return PreparedTasks(
            {name: self.tasks[name] for name in chosen},
            {name: self.examples[name] for name in chosen},
            tuple(row for row in self.counts if row["task"] in chosen),
            self.contamination,
        )


def prepare_tasks(config: RunConfig, *, read: ReadSource | None = None) -> PreparedTasks:
    """Read every source of every task, take away what `splits.exclude` names, and apply the split protocol.

    read(source, place): default `read_source`. Raises DataError or ConfigError.

    Protocol `clean` takes every training example away whose picture any task evaluates (12-in-1's rule). Protocol
    `paper-ii` trains on VQA's val set too, and leaves every val set that it may not be scored on empty.
    """
    tasks: dict[str, Task[Any]] = {}
    examples: Examples = {}
    counts: list[dict[str, Any]] = []
    for name, task_config in config.tasks.items():
        records, num_read = {}, {}
        for split in SPLITS:
            sources = enumerate(getattr(task_config, split))
            found = [(read or _read_source)(source, f"tasks.{name}.{split}.{k}") for k, source in sources]
            records[split] = [record for source in found for record in source]
            num_read[split] = len(records[split])
        kind = resolve(TASKS, task_config.type or name, kind="task")
        tasks[name] = task = kind(name, records, options=task_config.options)
        examples[name] = {split: task.examples(split) for split in SPLITS}
        counts += [{"task": name, "split": split, "read": num_read[split]} for split in SPLITS]
    arranged = _arrange(examples, config)
    excluded = read_excluded(config.splits.exclude)
    allowed = {name: {**splits, "train": _without(splits["train"], excluded)} for name, splits in arranged.items()}
    kept, contamination = _apply_protocol(allowed, config.splits.protocol)
    for row in counts:
        name, split = row["task"], row["split"]
        asked, moved = len(examples[name][split]), len(arranged[name][split]) - len(examples[name][split])
        row["not_asked"] = row["read"] - asked
        if moved:  # by the protocol: into training, or out of what may be scored
            row["moved"] = moved
        if excluded and split == "train":
            row["excluded"] = len(arranged[name][split]) - len(allowed[name][split])
        row["contaminated"] = len(allowed[name][split]) - len(kept[name][split])
        row["used"] = len(kept[name][split])
        if split == "train":
            row["pictures"] = len(image_ids_of(allowed[name][split]))
            row["contaminated_pictures"] = row["pictures"] - len(image_ids_of(kept[name][split]))
    return PreparedTasks(tasks, kept, tuple(counts), contamination)


def read_source(source: SourceConfig, *, place: str = "source") -> list[Any]:
    """The records of one source, of the chosen pictures. Raises DataError or ConfigError, which name `place`.

    place: the key of the source in the configuration.
    """
    return choose_records(read_records(source, place=place), source, place=place)


def _read_source(source: SourceConfig, place: str) -> list[Any]:
    return read_source(source, place=place)


def read_records(source: SourceConfig, *, place: str = "source") -> list[Any]:
    """The records of one source, of all its pictures. Raises as `read_source` does."""
    read = resolve(READERS, source.reader, kind="reader")
    try:
        with without_collecting():
            records = read(
                files={name: here(path) for name, path in source.files.items()},
                split=source.split,
                image_id=source.image_id,
            )
    except (DataError, ConfigError) as error:
        raise type(error)(f"{place}: {error}") from error
    if not records:
        files = ", ".join(source.files.values())
        raise DataError(f"{place}: nothing to use in {files}" + (f" (split {source.split})" if source.split else ""))
    return list(records)


def choose_records(records: list[Any], source: SourceConfig, *, place: str = "source") -> list[Any]:
    """Those of the pictures that the source keeps. Raises DataError where they are not as many as it expects."""
    if source.every > 1:
        order = {image_id: k for k, image_id in enumerate(sorted({record.image_id for record in records}))}
        records = [record for record in records if order[record.image_id] % source.every in source.keep]
    for what, expected in source.expect.items():
        found = len(records) if what == "records" else len({record.image_id for record in records})
        if found != expected:
            raise DataError(
                f"{place}: {', '.join(source.files.values())}: {found:,} {what}, expected are {expected:,} (expect). "
                "Is it the whole official file? For data of your own, take `expect` away"
            )
    return records


def with_features(
    prepared: PreparedTasks, config: RunConfig, stored: Callable[[ImageId], bool], *, where: str
) -> PreparedTasks:
    """Leave out the examples whose picture has no features, where the source says `missing_features: drop`.

    Elsewhere a picture without features is a DataError that names it. where: the store, for the message.
    """
    examples: Examples = {}
    counts = {(row["task"], row["split"]): dict(row) for row in prepared.counts}
    for name, splits in prepared.examples.items():
        examples[name] = {}
        for split, found in splits.items():
            kept = tuple(example for example in found if all(stored(image_id) for image_id in example.image_ids))
            if len(kept) < len(found) and not _may_drop(config, name, split):
                absent = [i for example in found for i in example.image_ids if not stored(i)]
                raise DataError(
                    f"tasks.{name}.{split}: {len(found) - len(kept)} of {len(found)} examples are about pictures "
                    f"without features in {where}, first {absent[0]!r}. Extract them (vltool extract-features), or set "
                    "missing_features: drop at their source"
                )
            examples[name][split] = kept
            counts[name, split]["without_features"] = len(found) - len(kept)
            counts[name, split]["used"] = len(kept)
    return PreparedTasks(prepared.tasks, examples, tuple(counts.values()), prepared.contamination)


def _may_drop(config: RunConfig, name: str, split: str) -> bool:
    task = config.tasks[name]
    training = training_of(config.splits.protocol)
    sets = training.train[task.type or name] if training and split == "train" else (split,)
    return any(source.missing_features == "drop" for part in sets for source in getattr(task, part))


def _arrange(examples: Examples, config: RunConfig) -> Examples:
    """The sets as the paper's training uses them; under other protocols as they are."""
    training = training_of(config.splits.protocol)
    if training is None:
        return examples
    found: Examples = {}
    for name, splits in examples.items():
        kind = config.tasks[name].type or name
        sets = train_on(training, {kind: [split for split in splits if splits[split]]})[kind]
        found[name] = {
            "train": tuple(example for part in sets for example in splits[part]),
            "val": splits["val"] if (kind, "val") in training.scored else (),
            "test": splits["test"],
        }
    return found


def _without(examples: tuple[Example, ...], excluded: Collection[ImageId]) -> tuple[Example, ...]:
    if not excluded:
        return examples
    return tuple(example for example in examples if not any(image_id in excluded for image_id in example.image_ids))


def _apply_protocol(examples: Examples, protocol: str) -> tuple[Examples, tuple[dict[str, Any], ...]]:
    cleaned = apply_protocol(protocol, split_ids(examples))
    kept = {
        name: {**splits, "train": tuple(splits["train"][k] for k in cleaned.kept[name])}
        for name, splits in examples.items()
    }
    return kept, tuple(cleaned.pairs)


def split_ids(examples: Examples) -> dict[str, dict[str, list[tuple[ImageId, ...]]]]:
    """task → split → the pictures of each example, as the split protocols read them."""
    return {
        name: {split: [example.image_ids for example in found] for split, found in splits.items()}
        for name, splits in examples.items()
    }


def image_ids_of(examples: Sequence[Example]) -> tuple[ImageId, ...]:
    """The distinct pictures of examples, in order."""
    return tuple(dict.fromkeys(image_id for example in examples for image_id in example.image_ids))
