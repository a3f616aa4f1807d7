"""What every foreign format says about itself: how its rows are read, and how they are written.

A format's file gives a row at a time, undecoded; what is wrong with one row is found when it is decoded, and the
others go on.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from vltool.errors import DataError, VltoolError
from vltool.features.folder import lock, unlock
from vltool.structures import RegionFeatures


@dataclass(frozen=True)
class Content:
    """One picture as a foreign file has it; arrays as in RegionFeatures.

    Where the file does not know the picture's size, height and width are None and the boxes are shares of it.
    extra: JSON values that the record has no place for, and that writing the same row again needs.
    left_out: names of what the file holds beside, and the store does not keep.
    """

    features: np.ndarray
    boxes: np.ndarray
    height: int | None
    width: int | None
    classes: np.ndarray | None = None
    scores: np.ndarray | None = None
    attributes: np.ndarray | None = None
    attribute_scores: np.ndarray | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entry:
    """A row of a foreign file before it is decoded.

    key: the picture's name as the file spells it. place: where in the file. number: its place in the file's order.
    total: how many rows the file has, perhaps estimated. read: gives the content; raises DataError, or what a
    damaged row makes Python raise.
    """

    key: str
    place: str
    number: int
    total: int
    read: Callable[[], Content]


@dataclass(frozen=True)
class About:
    """What a writer knows before the first row. usual_count: the most frequent number of regions in a picture."""

    num_images: int
    usual_count: int
    feature_dim: int
    class_names: tuple[str, ...] = ()


class Writer:
    """Writes rows to `unfinished`; on leaving the `with` block, `dest` is there as a whole or not at all."""

    def __init__(self, dest: Path, about: About) -> None:
        if dest.exists():
            raise DataError(f"{dest}: exists already; delete it, or choose another --out")
        self.dest, self.about = dest, about
        self.unfinished = dest.with_name(f"{dest.name}.unfinished")
        self.lock_path = dest.with_name(f"{dest.name}.unfinished.lock")
        dest.parent.mkdir(parents=True, exist_ok=True)
        self._lock = lock(
            self.lock_path, f"{dest}: another process is writing it. Wait for it, or choose another --out"
        )
        if dest.exists():  # since the other process is through
            self._unlock()
            raise DataError(f"{dest}: exists already; delete it, or choose another --out")
        self._remove()

    def add(self, key: str, regions: RegionFeatures, extra: Mapping[str, Any]) -> None:
        """Writes a row. Raises DataError where the format cannot hold it; nothing is written then."""
        raise NotImplementedError

    def close(self) -> None:
        """Writes what comes after the last row, and closes the files."""
        raise NotImplementedError

    def release(self) -> None:
        """Closes the files of a writing that has failed."""

    def finish(self) -> None:
        """Gives what was written its name, once it is on the disk."""
        put_in_place(self.unfinished, self.dest)

    def _unlock(self) -> None:
        self.lock_path.unlink(missing_ok=True)
        unlock(self._lock)

    def _remove(self) -> None:
        if self.unfinished.is_dir():
            shutil.rmtree(self.unfinished)
        else:
            self.unfinished.unlink(missing_ok=True)

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        whole = False
        try:
            if error is None:
                self.close()
                self.finish()
                whole = True
        finally:
            if not whole:
                with suppress(OSError, RuntimeError, VltoolError):  # what failed to be written fails to be closed
                    self.release()
                self._remove()
            self._unlock()


def put_in_place(unfinished: Path, dest: Path) -> None:
    """Renames what was written once it is on the disk, so that not even a power cut leaves half of it as `dest`."""
    if unfinished.is_dir():
        os.sync()  # it may be a hundred thousand files
    else:
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
    unfinished.replace(dest)


class Format:
    """A foreign format. The names of keys, their order, number formats and conventions are those of its own tools."""

    name: str
    needs_pixels = True  # False: boxes are shares of the picture, so that its size need not be known
    needs: tuple[
        str, ...
    ] = ()  # arrays that a row has; zeros, or ones for scores, are written where the store has none

    def read(self, source: Path) -> Iterator[Entry]:
        """The rows of a file or folder in its order. Raises DataError where it is not of this format."""
        raise NotImplementedError

    def write(self, dest: Path, about: About) -> Writer:
        raise NotImplementedError

    def key_of(self, image_id: str, stem: str) -> str:
        """How the format's own tools name a picture. stem: of the file it came from, "" where that is not known."""
        return image_id.partition(":")[2] or image_id

    def class_names(self, source: Path) -> tuple[str, ...]:
        """Names of the classes where the file has them."""
        return ()


def stem_or_id(image_id: str, stem: str) -> str:
    """The name of the picture's file, without its suffix; the id without its data set where that is not known."""
    return stem or image_id.partition(":")[2] or image_id
