"""A store filled by an engine: each job describes a shard of the pictures into a store of its own, which is merged in.

features.lmdb.shards/00003-of-00016-5e1f09aa/     a shard, beside features.lmdb; removed when it is merged

The shards lie where all machines of the engine see them: beside the store, or below the URL that it is to be put at.
A job that is run again, as its machine was lost, goes on with what its shard holds; a run that was stopped, with what
all of them hold.
"""

from __future__ import annotations

import functools
import hashlib
import pickle
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vltool.detectors.detector import Detector
from vltool.detectors.selection import Recipe
from vltool.engines.engine import Engine, LostJob
from vltool.errors import BusyError, ConfigError, StoreError
from vltool.features.describe import Job, Outcome
from vltool.features.fill import Boxes, Described, FillStore, Way, batch_size_on, is_small, run_here, sort_out
from vltool.features.folder import expanded
from vltool.features.merge import copy
from vltool.features.sources import Picture
from vltool.features.store import RegionStore
from vltool.features.worker import Setup
from vltool.remote_files import copy_here, exists, in_this_process_alone, is_url, list_files, put, remove, with_slashes

MOST_PICTURES = 500  # of a shard: what a lost machine may cost where it leaves nothing
FEWEST_PICTURES = 8
SHARDS_A_PLACE = 4  # so that places which are slower, or lost, leave shards to the others
PATIENCE_S = 60.0  # for a process that was lost to leave its shard


@dataclass(frozen=True)
class Shard:
    """Pictures for one job. store: the folder or URL of their store. detector: pickled, loaded once by a process.

    alone: describe them in a process of their own, as one of them may end the process that it is described by.
    """

    jobs: tuple[Job, ...]
    store: str
    header: dict[str, Any] = field(repr=False)
    detector: bytes = field(repr=False)
    fingerprint: str
    recipe: Recipe
    batch_size: int
    stop_on_error: bool
    alone: bool = False


def fill_by(engine: Engine, *, place: str, stop_on_error: bool) -> FillStore:
    """The function `fill`, with shards that an engine runs. place: where the store is to be, a folder or a URL."""
    check_seen_by_all(place)

    def filled(pictures: Sequence[Picture], store: RegionStore, boxes: Boxes | None, way: Way) -> Iterator[Described]:
        for picture in pictures:
            check_seen_by_all(picture.path)
        folder = shards_folder(place)
        for left in shards_in(folder):
            gather(left, store)
        todo = sort_out(pictures, store, boxes)
        yield from (Described(picture) for picture in todo.stored)
        yield from todo.misfits
        if todo.jobs:
            store.flush(complete=False)
            shards = cut(todo.jobs, folder, store.header, way, stop_on_error=stop_on_error)
            for shard, failed in run(engine, shards):
                errors = {outcome.number: outcome.error for outcome in failed}
                stored = gather(shard.store, store)
                for job in shard.jobs:
                    if job.number in errors:
                        yield Described(pictures[job.number], error=errors[job.number])
                    elif job.image_id in stored:  # not so where the shard has stopped at an error
                        yield Described(pictures[job.number], *stored[job.image_id])

    return filled


def check_seen_by_all(place: object) -> None:
    """Raises ConfigError for what only this process can see."""
    if is_url(place) and in_this_process_alone(str(place)):
        raise ConfigError(f"{place}: other processes do not see it. With --engine ray, name what all machines see")


def shards_folder(place: str) -> str:
    """Where the shards of a store lie, a folder or a URL."""
    place = with_slashes(place) if is_url(place) else str(expanded(place))
    return place.rstrip("/").removesuffix("/data.mdb") + ".shards"


def clear_shards(place: str) -> None:
    """Remove what is left of shards that have been merged into a store, when it is where it should be."""
    folder = shards_folder(place)
    if not is_url(folder):
        shutil.rmtree(folder, ignore_errors=True)
    elif exists(folder):
        remove(folder)


def cut(jobs: Sequence[Job], folder: str, header: dict[str, Any], way: Way, *, stop_on_error: bool) -> list[Shard]:
    """The shards of some jobs, every n-th job in one."""
    detector = way.detector
    count = num_shards(len(jobs), way.workers)
    parts = [tuple(jobs[number::count]) for number in range(count)]
    return [
        Shard(
            part,
            f"{folder}/{number + 1:05}-of-{count:05}-{_digest(part)}",
            header,
            pickle.dumps(detector),
            detector.fingerprint,
            way.recipe,
            way.batch_size or batch_size_on(detector),
            stop_on_error,
        )
        for number, part in enumerate(parts)
    ]


def _digest(jobs: Sequence[Job]) -> str:
    """Of the pictures of a shard: one that is left by another run has another name, unless it has the same pictures."""
    return hashlib.sha256("\n".join(job.image_id for job in jobs).encode()).hexdigest()[:8]


def num_shards(num_pictures: int, num_places: int) -> int:
    """So many that none is large, and that every place has several, if there are enough pictures."""
    several = min(SHARDS_A_PLACE * (num_places or 16), -(-num_pictures // FEWEST_PICTURES))
    return max(1, several, -(-num_pictures // MOST_PICTURES))


def run(engine: Engine, shards: Sequence[Shard]) -> Iterator[tuple[Shard, list[Outcome]]]:
    """Shards as they are done, each with its pictures that failed.

    One whose process was lost again and again is run once more, with a process for its pictures that may die.
    """
    waiting = deque(shards)
    for done in engine.run(describe_shard, waiting):
        if isinstance(done.error, LostJob) and not done.job.alone:
            waiting.append(replace(done.job, alone=True))
        elif done.error is not None:
            raise done.error
        else:
            yield done.job, done.result or []


def describe_shard(shard: Shard) -> list[Outcome]:
    """Describe the pictures of a shard into its store, in a process of the engine; those that failed."""
    detector = _load(shard.detector)
    found = (detector.fingerprint, detector.precision)
    wanted = (shard.fingerprint, shard.header["precision"])
    if found != wanted:
        raise StoreError(
            f"the detector here is {found[0]} in {found[1]}, where the extraction was started {wanted[0]} in "
            f"{wanted[1]}. The machines need the same files at the same paths, and the same --precision"
        )
    with _shard_store(shard) as store:
        jobs = {job.number: job for job in shard.jobs if job.image_id not in store}
        failed = []
        for outcome in _outcomes(list(jobs.values()), shard, detector):
            if not outcome.error:
                store.put_encoded(jobs[outcome.number].image_id, outcome.data, outcome.num_regions)
                continue
            failed.append(outcome)
            if shard.stop_on_error:
                break
        return failed


@functools.lru_cache(maxsize=1)
def _load(detector: bytes) -> Detector:
    """The detector; once by a process, however many shards it describes."""
    found: Detector = pickle.loads(detector)
    return found


def _outcomes(jobs: Sequence[Job], shard: Shard, detector: Detector) -> Iterator[Outcome]:
    import torch

    from vltool.features.workers import describe_in_parallel

    num_threads = 1 if is_small(detector) else torch.get_num_threads()  # as many as the engine gives this job
    setup = Setup(detector, shard.fingerprint, shard.recipe, shard.header, 1, num_threads, shard.batch_size)
    return describe_in_parallel(jobs, setup) if shard.alone else run_here(jobs, setup)


@contextmanager
def _shard_store(shard: Shard) -> Iterator[RegionStore]:
    """The store of a shard, open for adding to. For a URL it is on this machine, and put there when it is whole."""
    if not is_url(shard.store):
        with _opened(shard.store, shard.header) as store:
            yield store
        return
    with tempfile.TemporaryDirectory() as folder:
        with RegionStore.create(folder, shard.header) as store:
            yield store
        put(Path(folder) / "data.mdb", f"{shard.store}/data.mdb")


def _opened(place: str | Path, header: Mapping[str, Any]) -> RegionStore:
    """A store, open for adding to, when whoever wrote it before has let go of it: a lost process may take a moment."""
    started = time.monotonic()
    while True:
        try:
            return RegionStore.open_or_create(place, header)
        except BusyError:
            if time.monotonic() - started > PATIENCE_S:
                raise
            time.sleep(0.5)


def _shard_at(place: str, folder: Path, header: Mapping[str, Any]) -> RegionStore:
    """The store of a shard; of one at a URL, a copy in `folder`."""
    if is_url(place):
        copy_here(f"{place}/data.mdb", folder / "data.mdb")
    return _opened(folder if is_url(place) else place, header)


def shards_in(folder: str) -> list[str]:
    """The shards that a run has left in a folder or below a URL."""
    if not is_url(folder):
        return [str(path.parent) for path in sorted(Path(folder).glob("*/data.mdb"))]
    files = list_files(folder) if exists(folder) else []
    return [file.url.removesuffix("/data.mdb") for file in files if file.name == "data.mdb"]


def gather(place: str, store: RegionStore) -> dict[str, tuple[int | None, str]]:
    """Copy what a shard holds into the store; number of regions or error by image id.

    A shard in a folder is removed then. One at a URL stays until the store is put there too: this machine may be lost.
    """
    found: dict[str, tuple[int | None, str]] = {}
    with tempfile.TemporaryDirectory() as folder, _shard_at(place, Path(folder), store.header) as shard:
        for image_id in shard.image_ids():
            kind, num_regions, error = copy(shard, image_id, store)
            found[image_id] = (None if kind == "skipped" or error else num_regions, error)
    store.flush()
    if not is_url(place):
        shutil.rmtree(place)
    return found


def engine_called(name: str, *, workers: int, ray_address: str) -> Engine | None:
    """The engine of a command: None for "local", which `fill` is. Each job has a GPU where the command is given one."""
    from vltool.engines.ray import RayEngine, check_engine

    check_engine(name, ray_address)
    if name == "local":
        return None
    import torch

    return RayEngine(workers, address=ray_address, gpus_per_job=float(torch.cuda.is_available()))
