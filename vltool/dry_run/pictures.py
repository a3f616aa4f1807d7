"""The detector, the pictures to describe, and the store: whether every picture of a task has, or will get, features."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vltool.config import FeaturesConfig, ImagesConfig, RunConfig
from vltool.detectors.detector import Detector
from vltool.detectors.load import load_detector
from vltool.detectors.selection import Recipe
from vltool.dry_run.findings import Findings, is_made_later
from vltool.features.extract import store_header
from vltool.features.header import check_same_origin
from vltool.features.images import ImagePath
from vltool.features.sources import Picture, find_images, name_pictures
from vltool.features.store import RegionStore
from vltool.registry import DETECTORS
from vltool.remote_files import exists, is_url
from vltool.splits.identity import visual_genome_aliases
from vltool.structures import ImageId
from vltool.tasks.prepare import PreparedTasks, image_ids_of
from vltool.tasks.wanted_boxes import wanted_boxes

STAGE = "extract-features"
_SAMPLED = 256  # stored pictures whose regions are counted


@dataclass
class Pictures:
    """new: pictures that the store lacks. region_counts: regions of some stored pictures.

    pending: some pictures are yet to be drawn, or are missing, so that nothing can be said of all of them.
    """

    detector: Detector | None = None
    new: list[Picture] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    stored: set[str] = field(default_factory=set)
    region_counts: list[int] = field(default_factory=list)
    feature_dim: int | None = None
    pending: bool = False


def examine_pictures(config: RunConfig, findings: Findings) -> Pictures:
    """The detector and the pictures, if the run extracts features; the store, if there is one."""
    found = Pictures()
    extracting = "extract-features" in config.stages
    if extracting:
        _examine_detector(config.features, findings, found)
        _examine_folders(config, findings, found)
    _examine_store(config, findings, found, needed=not extracting)
    found.new = [picture for picture in found.new if picture.image_id not in found.stored]
    if extracting and not found.pending:
        findings.note(STAGE, config.features.store, f"{len(found.new):,} pictures are yet to be described")
    return found


def examine_coverage(
    config: RunConfig, findings: Findings, pictures: Pictures, trainings: dict[str, PreparedTasks]
) -> None:
    """Refuses tasks whose pictures neither the store has nor the run describes."""
    if pictures.pending:
        return
    known = pictures.stored | pictures.names
    for prepared in trainings.values():
        wants = next((name for name, *_ in wanted_boxes(prepared)), None)
        if wants is not None and not config.features.given_store:
            findings.refuse(
                STAGE,
                f"tasks.{wants}",
                "it wants features of boxes that its dataset gives",
                "Set features.given_store, where extract-features puts them",
            )
        for name, splits in prepared.examples.items():
            for split, examples in splits.items():
                absent = [image_id for image_id in image_ids_of(examples) if image_id not in known]
                may_drop = any(source.missing_features == "drop" for source in getattr(config.tasks[name], split))
                if absent and may_drop:
                    findings.note(
                        STAGE, f"tasks.{name}.{split}", f"{len(absent):,} pictures without features are dropped"
                    )
                elif absent:
                    todo = "Add their folder to features.extract, check image_id there, or set missing_features: drop"
                    wrong = (
                        f"{len(absent):,} of its pictures are not in the store nor to be described, first {absent[0]!r}"
                    )
                    findings.refuse(STAGE, f"tasks.{name}.{split}", wrong, todo)


def _examine_detector(settings: FeaturesConfig, findings: Findings, found: Pictures) -> None:
    missing = [
        (key, path)
        for key in ("config_file", "weights")
        if (path := getattr(settings, key)) and not Path(path).is_file()
    ]
    for key, path in missing:
        findings.refuse(
            STAGE, path, "no such file", f"Put it there, or name it: --set features.{key}=PATH (docs/detectors.md)"
        )
    if missing:
        return
    own = settings.backend in ("auto", *DETECTORS.own)
    file = settings.weights or settings.config_file or ("the world detector" if own else settings.backend)
    with findings.collecting(STAGE, file, todo="Fetch configuration and weights of one detector (docs/detectors.md)"):
        found.detector = detector = load_detector(
            backend=settings.backend,
            config_file=settings.config_file or None,
            weights=settings.weights or None,
            precision=settings.precision,
        )
        found.feature_dim = detector.feature_dim
        findings.note(
            STAGE,
            file,
            f"{detector.name}, {detector.feature_dim}-d features, {len(detector.class_names):,} classes, "
            f"backend {detector.backend}",
        )


def _examine_folders(config: RunConfig, findings: Findings, found: Pictures) -> None:
    before = len(findings.problems)
    for k, source in enumerate(config.features.extract):
        paths: list[ImagePath] = []
        for folder in source.images:
            if is_made_later(Path(folder), config):
                found.pending = True
                findings.note(STAGE, folder, "the stage world will draw its pictures")
                continue
            todo = f"Put the pictures there, or name their folder: --set features.extract.{k}.images=[PATH, …]"
            name = folder.removeprefix("@")
            if not is_url(name) and not Path(name).expanduser().exists():
                findings.refuse(STAGE, folder, "no such file or folder", todo)
                continue
            with findings.collecting(STAGE, folder, todo=todo):
                images = find_images([folder])
                paths += images
                findings.note(STAGE, folder, f"{len(images):,} pictures")
        todo = f"Change features.extract.{k}.image_id, or what is in these folders"
        with findings.collecting(STAGE, f"features.extract.{k}", todo=todo):
            named = name_pictures(list(dict.fromkeys(paths)), source.image_id, _aliases(source))
            nameless = [picture for picture in named if picture.image_id is None]
            if nameless:
                wrong = f"{len(nameless):,} pictures whose names do not fit {source.image_id}, first {nameless[0].path}"
                findings.refuse(STAGE, f"features.extract.{k}", wrong, todo)
            found.names |= {picture.image_id for picture in named if picture.image_id is not None}
            found.new += named
    if not config.features.extract:
        findings.refuse(
            STAGE, "features.extract", "names no pictures", "Name them, or leave the stage extract-features out"
        )
    found.pending |= len(findings.problems) > before


def _aliases(source: ImagesConfig) -> dict[ImageId, ImageId] | None:
    return visual_genome_aliases(source.vg_images) if source.vg_images else None


def _examine_store(config: RunConfig, findings: Findings, found: Pictures, *, needed: bool) -> None:
    path = config.features.store
    stage = "search-layers" if needed else STAGE
    if not exists(path):
        if needed and not {"search-layers", "train-joint", "train-combinations"}.isdisjoint(config.stages):
            todo = "Import features (docs/data.md), or add the stage extract-features"
            findings.refuse(stage, path, "no feature store there", todo)
        return
    todo = "Look at it: vltool features info. Name another store, or move this one away"
    with findings.collecting(stage, path, todo=todo), opened(path) as store:
        found.stored = set(store.image_ids())
        ids = sorted(found.stored)
        found.region_counts = [store.get(name).num_regions for name in ids[:: max(1, len(ids) // _SAMPLED)]]
        header = store.header
        findings.note(
            stage,
            path,
            f"{len(ids):,} pictures, {store.feature_dim}-d features of {header['backend']}, "
            f"fingerprint {header['fingerprint']}",
        )
        if found.detector is not None:
            check_same_origin(
                header, store_header(found.detector, recipe_of(config), config.features.dtype), where=path
            )
        found.feature_dim = store.feature_dim


@contextmanager
def opened(path: str) -> Iterator[Any]:
    with RegionStore.open(path) as store:
        yield store


def recipe_of(config: RunConfig) -> Recipe:
    """The recipe of the run's features."""
    settings = config.features
    return Recipe(
        settings.recipe, settings.min_boxes, settings.max_boxes, settings.score_threshold, settings.nms_threshold
    )
