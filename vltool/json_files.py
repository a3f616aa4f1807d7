"""JSON files that appear whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from vltool.errors import DataError


def write_json(path: Path | str, content: Any, *, indent: int | None = None) -> None:
    """Write JSON beside `path` and put it in its place, so that a reader sees the old file or the whole new one."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.writing")
    with draft.open("w", encoding="utf-8") as file:
        json.dump(content, file, ensure_ascii=False, indent=indent)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)


def read_json(path: Path | str, *, next_step: str = "") -> Any:
    """The JSON in a file. Raises DataError, which ends with `next_step`."""
    try:
        return json.loads(Path(path).read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read: {error}. {next_step}".rstrip()) from error
