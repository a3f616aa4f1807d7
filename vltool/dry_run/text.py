"""The official files of every task, read once each and compared with what is published; word vectors; clean splits."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vltool.config import RunConfig, SourceConfig, sources_of
from vltool.datasets.official import published_of
from vltool.datasets.sources import keeping_json
from vltool.dry_run.findings import Findings, is_made_later, is_there
from vltool.errors import VltoolError
from vltool.remote_files import here, is_url
from vltool.splits.excluded import read_excluded
from vltool.stages.runs import scored_by
from vltool.tasks.prepare import PreparedTasks, choose_records, read_records
from vltool.tasks.split_proof import audit_trainings, prepare_trainings

STAGE = "embed-text"
_MOST_LOST = 0.5  # of a published count; with less than that left a file is a part on purpose, not one cut short


@dataclass
class TextFiles:
    """What was read. trainings: protocol → tasks; empty where files are missing, wrong, or yet to be made."""

    trainings: dict[str, PreparedTasks] = field(default_factory=dict)
    pending: bool = False
    seconds: float = 0.0
    vector_width: int | None = None
    vector_bytes: int = 0
    _records: dict[tuple[Any, ...], list[Any]] = field(default_factory=dict)

    def read(self, source: SourceConfig, place: str) -> list[Any]:
        """As `prepare.read_source`, each file being read once however many sources choose from it."""
        key = _key(source)
        if key not in self._records:
            self._records[key] = read_records(source, place=place)
        return choose_records(self._records[key], source, place=place)

    def all_of(self, source: SourceConfig) -> list[Any]:
        """Every record of a source that has been read."""
        return self._records[_key(source)]


def _key(source: SourceConfig) -> tuple[Any, ...]:
    return source.reader, tuple(sorted(source.files.items())), source.split, source.image_id


def examine_text(config: RunConfig, findings: Findings) -> TextFiles:
    """Every source's files, the word vectors and the list of excluded pictures; then the splits, if all is there."""
    found = TextFiles()
    _examine_vectors(config, findings, found)
    started = time.perf_counter()
    before = len(findings.problems)
    paths = Counter(path for _, source in sources_of(config) for path in source.files.values())
    with keeping_json(Path(path) for path, count in paths.items() if count > 1):
        for place, source in sources_of(config):
            _examine_source(place, source, config, findings, found)
    with findings.collecting(STAGE, "splits.exclude", todo="Mend the list, or take splits.exclude away"):
        read_excluded(config.splits.exclude)
    if len(findings.problems) == before and not found.pending:
        _examine_splits(config, findings, found)
    found.seconds = time.perf_counter() - started
    return found


def _examine_source(place: str, source: SourceConfig, config: RunConfig, findings: Findings, found: TextFiles) -> None:
    missing = False
    for name, file in source.files.items():
        path = Path(file)
        if is_url(file) or is_there(path):  # what is wrong with a URL, reading it will tell
            continue
        missing = True
        if is_made_later(path, config):
            found.pending = True
            findings.note(STAGE, path, "the stage world will write it")
        else:
            todo = (
                f"Put it there, or name where it is: --set {place}.files.{name}=PATH (docs/reproduce.md, docs/data.md)"
            )
            findings.refuse(STAGE, path, "no such file or folder", todo)
    if missing:
        return
    try:
        found.read(source, place)
    except VltoolError as error:
        named = sorted({file for file in source.files.values() if file in str(error)}, key=str(error).index)
        wrong = str(error).removeprefix(f"{place}: ").removeprefix(f"{named[0]}: " if named else "")
        todo = "Fetch the official file again, or mend the record that is named"
        findings.refuse(STAGE, named[0] if named else place, wrong, todo)
    else:
        _compare(place, source, findings, found.all_of(source))


def _compare(place: str, source: SourceConfig, findings: Findings, records: list[Any]) -> None:
    """What is in a source's files, beside what is published of them."""
    num_pictures = len({record.image_id for record in records})
    file = ", ".join(dict.fromkeys(source.files.values()))
    found = f"{place}: {len(records):,} records about {num_pictures:,} pictures"
    published = published_of(source.reader, {name: here(path) for name, path in source.files.items()}, source.split)
    if published is None:
        findings.note(STAGE, file, f"{found}; of no dataset whose size is known")
        return
    count = len(records) if published.what == "records" else num_pictures
    if count == published.count:
        findings.note(STAGE, file, f"{found}: all of {published.name}")
    elif count < _MOST_LOST * published.count:
        findings.note(STAGE, file, f"{found}: a part of {published.name}, which has {published.count:,}")
    else:
        findings.refuse(
            STAGE,
            file,
            f"{found}, but {published.name} has {published.count:,} {published.what}",
            "It is cut short, changed, or of another version: fetch the official file again",
        )


def _examine_vectors(config: RunConfig, findings: Findings, found: TextFiles) -> None:
    from vltool.tasks.corpus import WORLD_VECTORS
    from vltool.text.glove import width_of

    if config.text.tokenizer == "wordpiece":
        found.vector_width = 0
        _examine_pieces(config, findings)
        return
    path = WORLD_VECTORS if config.text.glove == "world" else Path(config.text.glove)
    if not is_there(path):
        findings.refuse(STAGE, path, "no such file", "Put GloVe's file there, or name it: --set text.glove=PATH")
        return
    with findings.collecting(STAGE, path, todo="Fetch GloVe's file again, or name another: --set text.glove=PATH"):
        found.vector_width = width_of(path)
        archive = next(part for part in (path, *path.parents) if part.is_file())
        found.vector_bytes = archive.stat().st_size
        findings.note(STAGE, path, f"word vectors of {found.vector_width} numbers, {found.vector_bytes / 1e9:.2f} GB")


def _examine_pieces(config: RunConfig, findings: Findings) -> None:
    from vltool.text.wordpiece import WordPieces

    if not config.text.wordpiece_vocab:
        findings.note(STAGE, "text.tokenizer", "word pieces will be learned from training text")
        return
    path = Path(config.text.wordpiece_vocab)
    todo = "Name the vocab.txt of an uncased BERT: --set text.wordpiece_vocab=PATH, or leave it out"
    with findings.collecting(STAGE, path, todo=todo):
        findings.note(STAGE, path, f"{len(WordPieces.read(path)):,} word pieces")


def _examine_splits(config: RunConfig, findings: Findings, found: TextFiles) -> None:
    todo = "Correct the key that is named, or choose another splits.protocol (docs/splits.md)"
    with findings.collecting(STAGE, "tasks", todo=todo):
        found.trainings = prepare_trainings(config, read=found.read)
    if not found.trainings:
        return
    audit = audit_trainings(found.trainings, config)
    shared = [pair for pair in audit["pairs"] if pair["images"]]
    for pair in shared:
        wrong = f"{pair['train']} trains on {pair['images']:,} pictures of {pair['evaluated']}"
        if config.splits.protocol == "off":
            findings.note(STAGE, "splits.protocol", f"off: {wrong}; its scores will be marked")
        else:
            todo = "Set splits.protocol=clean, or other sources (for COCO retrieval split: train); docs/splits.md"
            findings.refuse(STAGE, f"splits.protocol: {config.splits.protocol}", wrong, todo)
    if "eval" in config.stages:
        _examine_answers(config, findings, found)
    if not shared:
        findings.note(STAGE, "splits.protocol", f"{config.splits.protocol}: no trained picture is evaluated")


def _examine_answers(config: RunConfig, findings: Findings, found: TextFiles) -> None:
    """Notes the test questions without answers, which the run predicts for an evaluation server and cannot score."""
    prepared = next(iter(found.trainings.values()))
    for name, task in prepared.tasks.items():
        bare = [answers for answers in task.answers(prepared.examples[name]["test"]) if not answers]
        if bare and scored_by(config, name) is not None:
            findings.note(
                "eval",
                f"tasks.{name}.test",
                f"{len(bare):,} questions without answers: predicted for the evaluation server, not scored",
            )
