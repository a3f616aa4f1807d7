"""What is fuzzed: a reader as a function of bytes, with inputs that it reads."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from vltool.errors import VltoolError


@dataclass(frozen=True)
class Target:
    """read: the reader. seeds: inputs that it reads. kind: how inputs are changed: "bytes", "json" or "text"."""

    read: Callable[[bytes], Any]
    seeds: tuple[bytes, ...]
    kind: str = "bytes"

    def __call__(self, data: bytes) -> bool:
        """Whether `data` could be read. Raises what a reader must not."""
        try:
            self.read(data)
        except VltoolError:
            return False
        return True


@lru_cache
def scratch() -> Path:
    """A folder in memory where there is one, for readers that take a path."""
    memory = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="vltool-fuzz-", dir=memory if memory.is_dir() else None))


def in_a_file(name: str, read: Callable[[Path], Any]) -> Callable[[bytes], Any]:
    """A reader of a path as a reader of bytes."""

    def read_bytes(data: bytes) -> Any:
        path = scratch() / name
        path.write_bytes(data)
        return read(path)

    return read_bytes


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode()
