"""The proof of a run's splits: lists of what is used, with their digests, and the audit of what is evaluated.

splits/                        splits-ii/ for training (ii) of protocol `paper`
  vqa.train.examples.txt       ids of the examples, one a line, in their order
  vqa.train.images.txt         canonical ids of their pictures, sorted
  splits.json                  counts, digests, what was left out and why
  SHA256SUMS                   for `sha256sum --check`
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vltool.config import RunConfig
from vltool.datasets.id_lists import read_names
from vltool.datasets.image_ids import ImageNamer
from vltool.features import record
from vltool.features.store import RegionStore
from vltool.json_files import whole_file, write_json, write_text
from vltool.splits.audit import audit_sets
from vltool.splits.identity import PATTERNS
from vltool.splits.near_duplicates import Hashes
from vltool.splits.protocol import SplitIds, evaluated_sets, pictures, training_of, training_sets, trainings_of
from vltool.structures import ImageId
from vltool.tasks.prepare import SPLITS, PreparedTasks, ReadSource, image_ids_of, prepare_tasks, split_ids

_CANONICAL = re.compile(rf"({'|'.join(PATTERNS)}):.+")


def prepare_trainings(config: RunConfig, *, read: ReadSource | None = None) -> dict[str, PreparedTasks]:
    """Protocol → tasks of each separate training of a run: two under protocol `paper`. read: see `prepare_tasks`."""
    names: Any = trainings_of(config.splits.protocol)
    return {
        name: prepare_tasks(replace(config, splits=replace(config.splits, protocol=name)), read=read) for name in names
    }


def build_splits(prepared: PreparedTasks, folder: Path, *, protocol: str) -> dict[str, Any]:
    """Write the lists of every task and split to `folder`, and give what `splits.json` holds."""
    folder.mkdir(parents=True, exist_ok=True)
    lists: dict[str, dict[str, Any]] = {}
    sums = []
    for name, splits in prepared.examples.items():
        lists[name] = {}
        for split, examples in splits.items():
            content: dict[str, list[Any]] = {
                "examples": [example.example_id for example in examples],
                "images": sorted(image_ids_of(examples)),
            }
            lists[name][split] = {}
            for kind, ids in content.items():
                file = f"{name}.{split}.{kind}.txt"
                data = "".join(f"{item}\n" for item in ids).encode()
                digest = hashlib.sha256(data).hexdigest()
                with whole_file(folder / file) as written:
                    written.write(data)
                lists[name][split] |= {kind: len(ids), f"{kind}_sha256": digest, f"{kind}_file": file}
                sums.append(f"{digest}  {file}\n")
    summary = {
        "protocol": protocol,
        "lists": lists,
        "removed": {row["task"]: row["contaminated"] for row in prepared.counts if row["split"] == "train"},
        "removed_pictures": {
            row["task"]: {"removed": row["contaminated_pictures"], "of": row["pictures"]}
            for row in prepared.counts
            if row["split"] == "train"
        },
        "excluded": {row["task"]: row["excluded"] for row in prepared.counts if "excluded" in row},
        "counts": list(prepared.counts),
        "pairs": list(prepared.contamination),
    }
    write_json(folder / "splits.json", summary)
    write_text(folder / "SHA256SUMS", "".join(sums))
    return summary


def audit_trainings(
    trainings: Mapping[str, PreparedTasks],
    config: RunConfig,
    *,
    detector: Sequence[ImageId] = (),
    hashes: Sequence[Hashes] = (),
) -> dict[str, Any]:
    """{"clean", "pairs", "near_duplicates"} of every training against what it is scored on.

    detector: the pictures that trained the detector, one more training set. hashes: see `splits.audit`. Where a run
    makes two trainings, rows say which: `vqa (paper-ii)`.
    """
    found = []
    for protocol, prepared in trainings.items():
        kinds = {name: task.type or name for name, task in config.tasks.items()}
        ids = _scored_only(split_ids(prepared.examples), kinds, protocol)
        train = {f"{name} ({protocol})" if len(trainings) > 1 else name: v for name, v in training_sets(ids).items()}
        if detector:
            train["detector"] = [(image_id,) for image_id in detector]
        found.append(audit_sets(train, evaluated_sets(ids), hashes=hashes))
    near = {(row["a"], row["b"]): row for part in found for row in part["near_duplicates"]}
    pairs = {(row["train"], row["evaluated"]): row for part in found for row in part["pairs"]}
    return {
        "clean": all(part["clean"] for part in found),
        "pairs": list(pairs.values()),
        "near_duplicates": sorted(near.values(), key=lambda row: (row["distance"], row["a"], row["b"])),
    }


def met_in_training(prepared: PreparedTasks, config: RunConfig) -> list[str]:
    """A sentence for every set that a training trains on in part, though its protocol lets it be scored there."""
    found = audit_trainings({config.splits.protocol: prepared}, config)
    return [
        f"{row['images']:,} pictures of {row['evaluated']} train {row['train']}: its scores would not be honest, and "
        "vltool eval refuses them. Leave them out of training (splits.exclude), or set splits.protocol: clean"
        for row in found["pairs"]
        if row["images"]
    ]


def all_pictures(trainings: Mapping[str, PreparedTasks]) -> set[ImageId]:
    """Every picture that any training uses, in whatever split."""
    return {
        image_id
        for prepared in trainings.values()
        for splits in split_ids(prepared.examples).values()
        for examples in splits.values()
        for image_id in pictures(examples)
    }


def remedy(found: Mapping[str, Any], trainings: Mapping[str, PreparedTasks]) -> list[ImageId]:
    """The trained pictures of an audit's near-duplicates: without them, `splits.exclude`, these are gone.

    Not those that only the detector was trained on, which no list can undo.
    """
    trained = {
        image_id
        for prepared in trainings.values()
        for splits in prepared.examples.values()
        for image_id in image_ids_of(splits["train"])
    }
    return sorted({row["a"] for row in found["near_duplicates"]} & trained)


def stored_hashes(path: Path | str, image_ids: Collection[ImageId]) -> tuple[Hashes, Hashes]:
    """SHA-256 of the files, and perceptual hashes of the pictures and of their turned forms, as a store holds them.

    Pictures without features, or whose features were imported without pictures, have none.
    """
    files: dict[ImageId, str] = {}
    looks: dict[ImageId, list[str]] = {}
    with RegionStore.open(path) as store, store.environment.reading() as transaction:
        for image_id in sorted(image_ids):
            data = transaction.get(image_id.encode())
            if data is None:
                continue
            source = record.read_header(data)[0]["source"]  # its features, the bulk, are not touched
            if source.get("sha256"):
                files[image_id] = source["sha256"]
            if source.get("phash"):
                looks[image_id] = [source["phash"], *source.get("phash_turned", ())]
    return files, looks


def read_detector_list(
    path: Path | str, config: RunConfig, *, pattern: str = "", aliases: Mapping[ImageId, ImageId] | None = None
) -> list[ImageId]:
    """Canonical ids of the pictures that trained a detector, from a list (see datasets/id_lists.py).

    Canonical ids (`coco:42`, `vg:2415125`) stand for themselves; other names become ids by `pattern`, by default the
    one of the run's first source. aliases: vg: → coco: ids of the same pictures.
    """
    namer = ImageNamer(pattern or _first_pattern(config))
    found = []
    for name in read_names(path):
        if isinstance(name, str) and _CANONICAL.fullmatch(name):
            image_id = ImageId(name)
        else:
            image_id = namer(name, path)
        found.append((aliases or {}).get(image_id, image_id))
    return found


def _first_pattern(config: RunConfig) -> str:
    sources = [source for task in config.tasks.values() for split in SPLITS for source in getattr(task, split)]
    return next((source.image_id for source in sources if source.image_id), "coco:{number}")


def _scored_only(examples: SplitIds, kinds: Mapping[str, str], protocol: str) -> SplitIds:
    """Without the val and test sets that a training of the paper is not scored on."""
    training = training_of(protocol)
    if training is None:
        return examples
    return {
        name: {
            split: ids for split, ids in splits.items() if split == "train" or (kinds[name], split) in training.scored
        }
        for name, splits in examples.items()
    }
